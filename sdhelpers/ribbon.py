"""A ribbon of tokens, each with its id; the part of `show` that draws text."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

_INK, _PAPER, _LAMP, _FAINT = "#26323d", "#f3f1ea", "#ffc64a", "#8b949c"
_ROW_WIDTH = 96.0  # letters
_PADDING, _GAP = 1.6, 0.6  # letters inside a box and between two


def show_tokens(
    tokens: Sequence[str], ids: Sequence[int], is_lit: Callable[[str], bool] | None = None
) -> None:
    """Show a ribbon of tokens, each with its id below.

    Args:
        tokens: texts, in order.
        ids: one for each.
        is_lit: says which tokens are drawn in yellow; None: the special ones, `<|...|>`.

    Raises:
        ValueError: if there are no tokens, or the ids differ in number.
    """
    draw_tokens(tokens, ids, is_lit)
    plt.show()


def draw_tokens(
    tokens: Sequence[str], ids: Sequence[int], is_lit: Callable[[str], bool] | None = None
) -> Figure:
    """Draw what `show_tokens` shows, and return the figure."""
    if not tokens or len(tokens) != len(ids):
        raise ValueError(f"{len(tokens)} tokens and {len(ids)} ids were given.")
    is_lit = is_lit or (lambda token: token.startswith("<|"))
    boxes, left, row = [], 0.0, 0
    for token, number in zip(tokens, ids, strict=True):
        width = max(len(token), len(str(number))) + _PADDING
        if left and left + width > _ROW_WIDTH:
            left, row = 0.0, row + 1
        boxes.append((token, number, left, row, width))
        left += width + _GAP
    figure, axis = plt.subplots(figsize=(8.2, 0.62 * (row + 1)), layout="constrained")
    for token, number, left, row, width in boxes:
        _draw_box(axis, (left, -row - 0.42), width, _LAMP if is_lit(token) else _PAPER)
        written = {"ha": "center", "va": "center", "family": "monospace", "color": _INK}
        middle = left + width / 2
        axis.text(middle, -row + 0.14, token.replace("$", r"\$"), fontsize=8, **written)
        axis.text(middle, -row - 0.24, str(number), fontsize=6.5, alpha=0.7, **written)
    axis.set(xlim=(-0.5, _ROW_WIDTH + 2), ylim=(-row - 0.55, 0.55), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    return figure


def _draw_box(axis: Axes, corner: tuple[float, float], width: float, colour: str) -> None:
    """Draw the rounded box of one token."""
    axis.add_patch(
        FancyBboxPatch(
            corner,
            width,
            0.84,
            boxstyle="round,pad=0,rounding_size=0.12",
            mutation_aspect=0.2,
            facecolor=colour,
            edgecolor=_FAINT,
            linewidth=0.7,
        )
    )

"""Prompts as pictures: a ribbon of tokens, and a strip of squares for the places they take."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

from sdhelpers.show.charts import FAINT, INK, LAMP, LINE_COLOURS, PAPER, as_text, show_figure
from sdhelpers.text import token_table

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_WIDTH = 8.2  # inches, of every drawing
_ROW_WIDTH = 96.0  # letters
_PADDING, _GAP = 1.6, 0.6  # letters inside a box and between two

# Start and end as in the ribbon; padding pale, for it is made of the end token in SD 1.
_COLOURS = {
    "start": LAMP,
    "word": LINE_COLOURS[0],
    "end": LAMP,
    "padding": "#fdf0cf",
    "lost": LINE_COLOURS[1],
}
_LEGEND = {"start and end": "start", "words": "word", "padding": "padding", "lost": "lost"}
_MOST_LOST = 24  # squares beyond the room; more are counted but not drawn
_FONT_SIZE = 8  # points


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
    show_figure(draw_tokens(tokens, ids, is_lit))


def draw_tokens(
    tokens: Sequence[str], ids: Sequence[int], is_lit: Callable[[str], bool] | None = None
) -> Figure:
    """Draw what `show_tokens` shows, and return the figure."""
    if len(tokens) == 0 or len(tokens) != len(ids):
        raise ValueError(f"{len(tokens)} tokens and {len(ids)} ids were given.")
    is_lit = is_lit or (lambda token: token.startswith("<|"))
    boxes, left, row = [], 0.0, 0
    for token, number in zip(tokens, map(int, ids), strict=True):
        width = max(len(token), len(str(number))) + _PADDING
        if left and left + width > _ROW_WIDTH:
            left, row = 0.0, row + 1
        boxes.append((token, number, left, row, width))
        left += width + _GAP
    figure = Figure(figsize=(_WIDTH, 0.62 * (row + 1)), layout="constrained")
    axis = figure.subplots()
    for token, number, left, row, width in boxes:
        _draw_box(axis, (left, -row - 0.42), width, LAMP if is_lit(token) else PAPER)
        written = {"ha": "center", "va": "center", "family": "monospace", "color": INK}
        middle = left + width / 2
        axis.text(middle, -row + 0.14, as_text(token), fontsize=_FONT_SIZE, **written)
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
            edgecolor=FAINT,
            linewidth=0.7,
        )
    )


def show_budget(tokenizer: "CLIPTokenizer", prompts: Mapping[str, str]) -> None:
    """Show which places each prompt fills.

    Args:
        tokenizer: gives the room, 77 places for CLIP.
        prompts: label -> prompt, one strip for each; the label is written above the strip.

    Raises:
        ValueError: if there is no prompt.
    """
    show_figure(draw_budget(tokenizer, prompts))


def draw_budget(tokenizer: "CLIPTokenizer", prompts: Mapping[str, str]) -> Figure:
    """Draw what `show_budget` shows, and return the figure."""
    if not prompts:
        raise ValueError("There is no prompt to draw.")
    room = tokenizer.model_max_length
    num_rows = len(prompts)
    figure = Figure(figsize=(_WIDTH, 0.5 * num_rows + 0.45), layout="constrained")
    axis = figure.subplots()
    for row, (label, prompt) in enumerate(prompts.items()):
        roles = place_roles(tokenizer, prompt)
        drawn = roles[: room + _MOST_LOST]
        colours = [_COLOURS[role] for role in drawn]
        axis.bar(range(len(drawn)), 0.44, 0.84, -row, color=colours, edgecolor=INK, linewidth=0.3)
        text = {"fontsize": _FONT_SIZE, "color": INK, "va": "bottom"}
        axis.text(-0.5, -row + 0.48, as_text(label), **text)
        axis.text(room - 1.2, -row + 0.48, _written(roles, room), ha="right", **text)
    axis.axvline(room - 0.5, color=_COLOURS["lost"], linewidth=1)
    axis.set(xlim=(-1, room + _MOST_LOST), ylim=(-num_rows + 0.9, 0.85), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    figure.legend(
        handles=[
            Patch(facecolor=_COLOURS[role], edgecolor=INK, linewidth=0.3, label=name)
            for name, role in _LEGEND.items()
        ],
        loc="outside lower left",
        ncols=len(_LEGEND),
        fontsize=_FONT_SIZE,
        frameon=False,
    )
    return figure


def place_roles(tokenizer: "CLIPTokenizer", prompt: str) -> list[str]:
    """Name the role of every place, and of every token that found none.

    Args:
        tokenizer: any CLIP tokenizer.
        prompt: one prompt.

    Returns:
        "start", "word", "end" or "padding" for each of the 77 places, then "lost" for each token
        that did not fit.

    Raises:
        ValueError: if the prompt is no string.
    """
    roles = [row.role for row in token_table(tokenizer, prompt)]
    num_lost = len(tokenizer.tokenize(prompt)) - roles.count("word")
    return roles + ["lost"] * num_lost


def _written(roles: list[str], room: int) -> str:
    """Write how much of the room is used."""
    used, lost, free = roles.count("word"), roles.count("lost"), roles.count("padding")
    return f"{used} of {used + free} used" + (f", {lost} lost" if lost else f", {free} free")

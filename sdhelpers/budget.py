"""A strip of squares for each prompt: which of the text encoder's places are used, and by what."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sdhelpers.tokens import token_table

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_INK = "#26323d"
# Start and end as in the ribbon; padding pale, for it is made of the end token in SD 1.
_COLOURS = {
    "start": "#ffc64a",
    "word": "#1f5f8b",
    "end": "#ffc64a",
    "padding": "#fdf0cf",
    "lost": "#d1495b",
}
_LEGEND = {"start and end": "start", "words": "word", "padding": "padding", "lost": "lost"}
_MOST_LOST = 24  # squares beyond the room; more are counted but not drawn
_FONT_SIZE = 8  # points


def show_budget(tokenizer: "CLIPTokenizer", prompts: Mapping[str, str]) -> None:
    """Show which places each prompt fills.

    Args:
        tokenizer: gives the room, 77 places for CLIP.
        prompts: label -> prompt, one strip for each; the label is written above the strip.

    Raises:
        ValueError: if there is no prompt.
    """
    draw_budget(tokenizer, prompts)
    plt.show()


def draw_budget(tokenizer: "CLIPTokenizer", prompts: Mapping[str, str]) -> Figure:
    """Draw what `show_budget` shows, and return the figure."""
    if not prompts:
        raise ValueError("There is no prompt to draw.")
    room = tokenizer.model_max_length
    num_rows = len(prompts)
    figure, axis = plt.subplots(figsize=(8.2, 0.5 * num_rows + 0.45), layout="constrained")
    for row, (label, prompt) in enumerate(prompts.items()):
        roles = place_roles(tokenizer, prompt)
        drawn = roles[: room + _MOST_LOST]
        colours = [_COLOURS[role] for role in drawn]
        axis.bar(range(len(drawn)), 0.44, 0.84, -row, color=colours, edgecolor=_INK, linewidth=0.3)
        text = {"fontsize": _FONT_SIZE, "color": _INK, "va": "bottom"}
        axis.text(-0.5, -row + 0.48, label, **text)
        axis.text(room - 1.2, -row + 0.48, _written(roles, room), ha="right", **text)
    axis.axvline(room - 0.5, color=_COLOURS["lost"], linewidth=1)
    axis.set(xlim=(-1, room + _MOST_LOST), ylim=(-num_rows + 0.9, 0.85), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    figure.legend(
        handles=[
            Patch(facecolor=_COLOURS[role], edgecolor=_INK, linewidth=0.3, label=name)
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

"""The map that opens every notebook: the whole loop, one room lit."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from PIL import Image

from sdhelpers.show.charts import FAINT, INK, LAMP, PAPER, show_figure

_ROOM_WIDTH, _ROOM_HEIGHT = 16.0, 8.0  # in units of the map
_MAP_SIZE = (106, 42)
_INCHES = (10, 3.75)
_HANDED_OVER = {"size": 7.5, "color": INK, "family": "monospace"}


@dataclass(frozen=True)
class Room:
    """A box on the map: its centre, its name and what it does."""

    x: float
    y: float
    name: str
    deed: str


ROOMS = {
    "01": Room(96, 12, "VAE decoder", "latents to pixels"),
    "02": Room(25, 34, "tokenizer", "words to numbers"),
    "03": Room(51, 34, "text encoder", "numbers to meaning"),
    "04": Room(31, 12, "UNet", "what is noise here?"),
    "05": Room(69, 12, "scheduler", "take some of it away"),
    "06": Room(50, 12, "guidance", "more like the prompt"),
}
_WHOLE_LOOP = "07"


def show_map(room: str | None = None, image: Image.Image | None = None) -> None:
    """Show the map of the whole loop with one room lit.

    Args:
        room: number of the notebook that explains it, "01" to "06"; "07" lights all of them;
            None lights none.
        image: a picture to hang up where the loop ends.

    Raises:
        ValueError: if there is no such room.
    """
    show_figure(draw_map(room, image))


def draw_map(room: str | None = None, image: Image.Image | None = None) -> Figure:
    """Draw the map into a new figure.

    Args:
        room: number of the notebook whose room is lit; "07" lights all; None: none.
        image: a picture to hang up at the end of the loop.

    Returns:
        The figure, not yet shown.

    Raises:
        ValueError: if there is no such room.
    """
    if room is not None and room not in (*ROOMS, _WHOLE_LOOP):
        raise ValueError(f"Unknown room {room!r}. Known are {', '.join(ROOMS)}, {_WHOLE_LOOP}.")
    figure = Figure(figsize=_INCHES, layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(0, _MAP_SIZE[0]), ylim=(0, _MAP_SIZE[1]), aspect="equal")
    axis.axis("off")
    _draw_loop_frame(axis)
    for number, place in ROOMS.items():
        _draw_room(axis, number, place, is_lit=room in (number, _WHOLE_LOOP))
    _draw_text_path(axis)
    _draw_latents_path(axis)
    _draw_picture(axis, image)
    return figure


def _draw_loop_frame(axis: Axes) -> None:
    """Draw the dashed frame around the three rooms that are visited once per timestep."""
    frame = FancyBboxPatch(
        (20.5, 1.5),
        59,
        19.5,
        boxstyle="round,pad=0,rounding_size=2",
        facecolor="none",
        edgecolor=FAINT,
        linestyle=(0, (4, 3)),
    )
    axis.add_patch(frame)
    axis.text(78, 18.6, "once per timestep", ha="right", color=FAINT, style="italic", size=8.5)


def _draw_room(axis: Axes, number: str, room: Room, *, is_lit: bool) -> None:
    """Draw one box with its number, name and deed."""
    box = FancyBboxPatch(
        (room.x - _ROOM_WIDTH / 2, room.y - _ROOM_HEIGHT / 2),
        _ROOM_WIDTH,
        _ROOM_HEIGHT,
        boxstyle="round,pad=0,rounding_size=1.4",
        facecolor=LAMP if is_lit else PAPER,
        edgecolor=INK,
        linewidth=2.2 if is_lit else 1.2,
        zorder=2,
    )
    axis.add_patch(box)
    label = f"{number}  {room.name}"
    axis.text(
        room.x, room.y + 1.3, label, ha="center", va="center", weight="bold", size=9, zorder=3
    )
    axis.text(room.x, room.y - 1.9, room.deed, ha="center", va="center", size=7.5, zorder=3)


def _draw_text_path(axis: Axes) -> None:
    """Draw the way of the prompt, down into the UNet."""
    axis.text(
        7, 34, "“a photograph of\nan astronaut\nriding a horse”", ha="center", va="center", size=8.5
    )
    _draw_arrow(axis, (13.3, 34), (16.5, 34))
    _draw_arrow(axis, (33, 34), (42.5, 34))
    axis.text(37.7, 35, "input_ids", ha="center", **_HANDED_OVER)
    _draw_arrow(axis, (51, 30), (51, 25.5), (31, 25.5), (31, 16))
    axis.text(41, 26.4, "text_embeddings", ha="center", **_HANDED_OVER)


def _draw_latents_path(axis: Axes) -> None:
    """Draw the way of the latents: from noise, round the loop, out to the decoder."""
    grain = np.random.default_rng(0).normal(size=(12, 12))
    axis.imshow(grain, cmap="gray", extent=(3, 12, 7.5, 16.5), zorder=2)
    axis.text(7.5, 4.6, "seed: noise", ha="center", size=8.5)
    _draw_arrow(axis, (12.5, 12), (22.5, 12))
    axis.text(17, 13, "latents", ha="center", **_HANDED_OVER)
    _draw_arrow(axis, (39, 12), (41.5, 12))
    _draw_arrow(axis, (58, 12), (60.5, 12))
    _draw_arrow(axis, (69, 8), (69, 4.5), (31, 4.5), (31, 8))
    axis.text(50, 5.3, "latents, a little cleaner", ha="center", **_HANDED_OVER)
    _draw_arrow(axis, (77, 12), (87.5, 12))
    axis.text(83.4, 13, "latents", ha="center", **_HANDED_OVER)


def _draw_picture(axis: Axes, image: Image.Image | None) -> None:
    """Hang up the picture above the decoder, or an empty frame."""
    left, bottom, side = 89.5, 25, 13
    _draw_arrow(axis, (96, 16), (96, bottom - 0.6))
    if image is not None:
        extent = (left, left + side, bottom, bottom + side)
        axis.imshow(np.asarray(image), extent=extent, zorder=2)
    frame = Rectangle((left, bottom), side, side, fill=False, edgecolor=INK, zorder=3)
    axis.add_patch(frame)
    axis.text(96, bottom + side + 1, "image", ha="center", size=8.5)


def _draw_arrow(axis: Axes, *corners: tuple[float, float]) -> None:
    """Draw an arrow from the first point, round the corners, to the last."""
    arrow = FancyArrowPatch(
        path=Path(corners),
        arrowstyle="-|>",
        mutation_scale=11,
        color=INK,
        linewidth=1.3,
        joinstyle="round",
    )
    axis.add_patch(arrow)

"""Curves, bars and heat maps; and what all drawings share: colours, and how a figure is shown.

Every `draw_*` of this package draws on a figure of its own and leaves pyplot's list of figures
alone, which all threads share: a live control may draw while a cell does. Every `show_*` shows such
a figure and returns None.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

INK = "#26323d"
FAINT = "#8b949c"
PAPER = "#f3f1ea"
LAMP = "#ffc64a"
BLANK = "#e4e4e0"  # where a picture is still to come

# Dark enough on white, and told apart without colour vision by lightness.
LINE_COLOURS = ["#1f5f8b", "#d1495b", "#e0a100", "#3a7d44", "#7a4988", "#7c8a96"]
Numbers = Sequence[float] | np.ndarray | torch.Tensor
_FONT_SIZE = 9  # points


def show_curves(
    curves: Mapping[str, Numbers], x: Numbers | Mapping[str, Numbers] | None = None, **options: Any
) -> None:
    """Show curves in one frame; the arguments are those of `draw_curves`."""
    show_figure(draw_curves(curves, x, **options))


def draw_curves(
    curves: Mapping[str, Numbers],
    x: Numbers | Mapping[str, Numbers] | None = None,
    *,
    x_label: str = "",
    y_label: str = "",
    log_x: bool = False,
    log_y: bool = False,
    reversed_x: bool = False,
    marks: Mapping[str, float] | None = None,
    points: bool = False,
    size: tuple[float, float] = (6.5, 3.0),
) -> Figure:
    """Draw curves in one frame.

    Args:
        curves: name -> values; one name needs no legend.
        x: the values along the axis, for all curves or by name; None: 0, 1, 2, ...
        x_label: below the axis, with its unit.
        y_label: beside the axis, with its unit.
        log_x: whether the axis is logarithmic.
        log_y: likewise.
        reversed_x: whether the axis runs from large to small, as time does in sampling.
        marks: text -> place on the x axis of a dotted line.
        points: whether each value gets a dot.
        size: of the figure in inches.

    Returns:
        The figure, not yet shown.

    Raises:
        ValueError: if there is no curve, one is no row of numbers, or its x is of another length.
    """
    if not curves:
        raise ValueError("There is no curve to draw.")
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    are_whole = True
    for index, (name, values) in enumerate(curves.items()):
        y_values = as_array(values)
        if y_values.ndim != 1:
            raise ValueError(f"Curve {name!r} must be a row of numbers, got {y_values.shape}.")
        own_x = x.get(name) if isinstance(x, Mapping) else x
        x_values = np.arange(len(y_values)) if own_x is None else as_array(own_x)
        if len(x_values) != len(y_values):
            raise ValueError(f"Curve {name!r} has {len(y_values)} values for {len(x_values)} x.")
        are_whole &= bool((x_values == np.round(x_values)).all())
        colour = LINE_COLOURS[index % len(LINE_COLOURS)]
        style = "-" if index < len(LINE_COLOURS) else "--"
        axis.plot(
            x_values,
            y_values,
            style,
            color=colour,
            label=as_text(name),
            marker="." if points else "",
        )
    for text, place in (marks or {}).items():
        axis.axvline(place, color=FAINT, linestyle=":")
        axis.annotate(
            text,
            (place, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -9),
            textcoords="offset points",
            fontsize=_FONT_SIZE - 1,
            color=INK,
        )
    if log_x:
        axis.set_xscale("log")
    elif are_whole:  # no tick at step 2.5
        axis.xaxis.get_major_locator().set_params(integer=True)
    if log_y:
        axis.set_yscale("log")
    if reversed_x:
        axis.invert_xaxis()
    axis.set_xlabel(x_label, fontsize=_FONT_SIZE)
    axis.set_ylabel(y_label, fontsize=_FONT_SIZE)
    _tidy(axis)
    if len(curves) > 1:
        axis.legend(fontsize=_FONT_SIZE - 1, framealpha=0.9, edgecolor="none")
    return figure


def show_bars(values: Mapping[str, float], *, x_label: str = "", written: str = "{:.3g}") -> None:
    """Show numbers as horizontal bars, the first on top, each with its number.

    Args:
        values: name -> number.
        x_label: what is measured, with its unit.
        written: how a number is written, as for `str.format`.

    Raises:
        ValueError: if there are no values.
    """
    if not values:
        raise ValueError("There is no bar to draw.")
    figure = Figure(figsize=(6.5, 0.32 * len(values) + 0.6), layout="constrained")
    axis = figure.subplots()
    names = [as_text(name) for name in values]
    numbers = [float(value) for value in values.values()]
    drawn = axis.barh(names, numbers, color=LINE_COLOURS[0], height=0.7)
    labels = [written.format(number) for number in numbers]
    axis.bar_label(drawn, labels, padding=3, fontsize=_FONT_SIZE)
    axis.margins(x=0.12)
    axis.invert_yaxis()
    axis.set_xlabel(x_label, fontsize=_FONT_SIZE)
    _tidy(axis)
    show_figure(figure)


def show_heat_map(
    matrix: torch.Tensor | np.ndarray,
    row_labels: Sequence[str],
    column_labels: Sequence[str] | None = None,
    *,
    limits: tuple[float, float] | None = None,
    written: str | None = "{:.2f}",
) -> None:
    """Show a matrix as coloured squares.

    Args:
        matrix: (R, C).
        row_labels: R texts.
        column_labels: C texts; None: those of the rows.
        limits: values of the darkest and of the brightest colour; None: those of the matrix.
        written: how a number is written into its square; None: not at all.

    Raises:
        ValueError: if the labels do not fit the matrix.
    """
    values = as_array(matrix)
    column_labels = row_labels if column_labels is None else column_labels
    if values.shape != (len(row_labels), len(column_labels)):
        raise ValueError(
            f"The matrix has shape {values.shape}, but there are {len(row_labels)} row labels "
            f"and {len(column_labels)} column labels."
        )
    low, high = limits or (float(values.min()), float(values.max()))
    size = 0.5 if written else 0.28
    figure = Figure(
        figsize=(size * len(column_labels) + 2.6, size * len(row_labels) + 1.3),
        layout="constrained",
    )
    axis = figure.subplots()
    drawn = axis.imshow(values, cmap="viridis", vmin=low, vmax=high)
    axis.set_xticks(range(len(column_labels)), map(as_text, column_labels), rotation=40, ha="right")
    axis.set_yticks(range(len(row_labels)), map(as_text, row_labels))
    axis.tick_params(length=0, labelsize=_FONT_SIZE)
    axis.spines[:].set_visible(False)
    if written:
        for (row, column), value in np.ndenumerate(values):
            is_dark = value < (low + high) / 2
            axis.text(
                column,
                row,
                written.format(value),
                ha="center",
                va="center",
                fontsize=_FONT_SIZE - 2,
                color="white" if is_dark else "black",
            )
    figure.colorbar(drawn, ax=axis, shrink=0.8)
    show_figure(figure)


def show_figure(figure: Figure) -> None:
    """Show a figure: in a notebook below its cell, elsewhere in a window, if there is a screen.

    Args:
        figure: as a `draw_*` function gives it.
    """
    if "inline" in matplotlib.get_backend():
        import matplotlib_inline.backend_inline  # noqa: F401  tells the notebook how to show one

        display(figure)
    else:
        import matplotlib.pyplot as plt

        plt.figure(FigureClass=lambda **options: figure)  # pyplot opens windows for its own only
        plt.show()


def figure_to_image(figure: Figure, dots_per_inch: int = 100) -> Image.Image:
    """Render a figure as a picture.

    Args:
        figure: as a `draw_*` function gives it.
        dots_per_inch: resolution.

    Returns:
        RGB picture.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return Image.open(buffer).convert("RGB")


def as_array(values: Numbers) -> np.ndarray:
    """Give numbers as an array, wherever they live."""
    if isinstance(values, torch.Tensor):
        return values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=float)


def as_text(label: object) -> str:
    """Write a name or a number, with no dollar signs that would be read as mathematics."""
    return str(label).replace("$", r"\$")


def _tidy(axis: Axes) -> None:
    """Take away what is no data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=_FONT_SIZE - 1)
    axis.grid(alpha=0.25)

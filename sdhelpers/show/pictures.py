"""Pictures in rows and columns, latents as maps, tensors as lines."""

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from sdhelpers.images import tensor_to_images, to_rgb
from sdhelpers.show.charts import as_text, show_figure
from sdhelpers.validation import is_count

Pictures = Image.Image | torch.Tensor | Sequence[Image.Image]
TITLE_SIZE = 9  # points
INCHES = 1.7  # width of one picture in a grid
_LETTERS_PER_INCH = 14  # of that size, about


def show_images(
    images: Pictures,
    titles: Sequence[str] | None = None,
    *,
    num_columns: int | None = None,
    inches: float = INCHES,
) -> None:
    """Show pictures side by side.

    Args:
        images: one picture, a sequence of pictures, or pixel_values (B, 3, H, W) in [-1, 1].
        titles: one for each picture, above it.
        num_columns: of the grid; None: all in one row, up to 8.
        inches: width of each picture.

    Raises:
        ValueError: if there is no picture, or the number of titles differs.
    """
    pictures = _as_pictures(images)
    titles = match_titles(titles, len(pictures))
    num_columns = min(len(pictures), 8) if num_columns is None else num_columns
    if not is_count(num_columns):
        raise ValueError(f"num_columns must be a positive integer, got {num_columns!r}.")
    rows = [
        list(zip(pictures[start:][:num_columns], titles[start:][:num_columns], strict=True))
        for start in range(0, len(pictures), num_columns)
    ]
    show_figure(draw_grid(rows, inches))


def show_film_strip(
    rows: dict[str, Pictures], titles: Sequence[str] | None = None, *, inches: float = 1.25
) -> None:
    """Show rows of pictures that belong together column by column, such as steps of a run.

    Args:
        rows: name of a row -> its pictures; all rows equally long.
        titles: one for each column, above the first row.
        inches: width of each picture.

    Raises:
        ValueError: if the rows differ in length, or the number of titles does.
    """
    pictures = {name: _as_pictures(images) for name, images in rows.items()}
    lengths = {len(images) for images in pictures.values()}
    if len(lengths) != 1:
        raise ValueError(f"All rows must be equally long, got lengths {sorted(lengths)}.")
    (num_columns,) = lengths
    no_titles = [""] * num_columns
    row_titles = [match_titles(titles, num_columns)] + [no_titles] * (len(rows) - 1)
    grid = [
        list(zip(images, above, strict=True))
        for images, above in zip(pictures.values(), row_titles, strict=True)
    ]
    figure = draw_grid(grid, inches)
    for index, name in enumerate(pictures):
        figure.axes[index * num_columns].set_ylabel(as_text(name), fontsize=TITLE_SIZE)
    show_figure(figure)


def match_titles(titles: Sequence[str] | None, count: int) -> list[str]:
    """Give one title for each of count pictures."""
    if titles is None:
        return [""] * count
    if len(titles) != count:
        raise ValueError(f"{len(titles)} titles were given for {count} pictures or rows.")
    return [as_text(title) for title in titles]


def draw_grid(rows: list[list[tuple[Image.Image, str]]], inches: float) -> Figure:
    """Draw rows of (picture, title) into a new figure."""
    num_columns = max(map(len, rows))
    rows = [[(picture, _wrap(title, inches)) for picture, title in row] for row in rows]
    title_lines = sum(max(title.count("\n") + bool(title) for _, title in row) for row in rows)
    first = rows[0][0][0]
    height = len(rows) * (inches * first.height / first.width + 0.05) + 0.17 * title_lines
    figure = Figure(figsize=(num_columns * inches + 0.3, height), layout="constrained")
    axes = figure.subplots(len(rows), num_columns, squeeze=False)
    for axis in axes.flat:
        strip_axis(axis)
    for row, cells in zip(axes, rows, strict=True):
        for axis, (picture, title) in zip(row, cells, strict=False):
            axis.imshow(np.asarray(picture))
            axis.set_title(title, fontsize=TITLE_SIZE)
    return figure


def strip_axis(axis: Axes) -> None:
    """Take ticks and frame from an axis."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def pick_evenly(places: range, count: int) -> list[int]:
    """Give at most count of the places, spread evenly from the first to the last.

    Raises:
        ValueError: if the count, which callers call num_columns, is no positive integer.
    """
    if not is_count(count):
        raise ValueError(f"num_columns must be a positive integer, got {count!r}.")
    chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
    return [places[index] for index in chosen]


def _as_pictures(images: Pictures) -> list[Image.Image]:
    """Give a list of one picture or more."""
    if isinstance(images, torch.Tensor):
        pictures = tensor_to_images(images)
    else:
        pictures = [images] if isinstance(images, Image.Image) else list(images)
    if not pictures:
        raise ValueError("There is no picture to show: the sequence is empty.")
    strangers = {type(one).__name__ for one in pictures if not isinstance(one, Image.Image)}
    if strangers:
        raise ValueError(
            "images must be PIL images, or pixel_values of shape (B, 3, H, W) in one tensor, got "
            f"{', '.join(strangers)}. Image.fromarray makes a picture of an array."
        )
    return [to_rgb(picture) for picture in pictures]


def _wrap(title: str, inches: float) -> str:
    """Break a title into lines that are no wider than a picture."""
    width = max(8, int(inches * _LETTERS_PER_INCH))
    return "\n".join(textwrap.fill(line, width) for line in title.splitlines())


def show_latents(latents: torch.Tensor, titles: Sequence[str] | None = None) -> None:
    """Show the channels of latents as four maps, on one scale: blue below zero, red above.

    Args:
        latents: (B, 4, h, w), scaled; one row of maps for each of the B.
        titles: one for each row.

    Raises:
        ValueError: if the shape or the number of titles does not fit.
    """
    is_tensor = isinstance(latents, torch.Tensor)
    if not is_tensor or latents.ndim != 4 or not latents.numel():
        given = tuple(latents.shape) if is_tensor else type(latents).__name__
        raise ValueError(f"latents must be a tensor of shape (B, 4, h, w), got {given}.")
    num_rows, num_channels = latents.shape[:2]
    titles = match_titles(titles, num_rows)
    values = latents.detach().float().cpu().numpy()
    limit = float(np.abs(values).max())
    size = (num_channels * INCHES + 0.8, num_rows * INCHES + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(num_rows, num_channels, squeeze=False)
    for row, title, channels in zip(axes, titles, values, strict=True):
        for index, (axis, channel) in enumerate(zip(row, channels, strict=True)):
            drawn = axis.imshow(channel, cmap="RdBu_r", vmin=-limit, vmax=limit)
            strip_axis(axis)
            if row[0] is axes[0, 0]:
                axis.set_title(f"channel {index}", fontsize=TITLE_SIZE)
        row[0].set_ylabel(title, fontsize=TITLE_SIZE)
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    show_figure(figure)


def show_shapes(**tensors: torch.Tensor) -> None:
    """Print one line for each tensor: name, shape, dtype and range.

    Args:
        tensors: name=tensor, in the order in which they shall appear.
    """
    name_width = max(map(len, tensors), default=0)
    shape_width = max((len(str(tuple(tensor.shape))) for tensor in tensors.values()), default=0)
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        limits = "no values"
        if tensor.numel():
            low, high = tensor.min().item(), tensor.max().item()
            limits = (
                f"[{low:.2f}, {high:.2f}]" if tensor.is_floating_point() else f"[{low}, {high}]"
            )
        shape = str(tuple(tensor.shape))
        print(f"{name:<{name_width}}  {shape:<{shape_width}}  {dtype}  {limits}")

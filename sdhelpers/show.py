"""Everything that draws: pictures, latents, film strips, shapes; nothing is computed here.

Every function draws into a new figure, shows it and returns None. Some parts have files of their
own: pictures (`grid`), the map of the loop (`loop_map`), numbers (`charts`), tokens (`ribbon`), and
what live controls show, as figures (`twins`).
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from sdhelpers.charts import show_bars as show_bars
from sdhelpers.charts import show_curves as show_curves
from sdhelpers.charts import show_heat_map as show_heat_map
from sdhelpers.grid import INCHES, TITLE_SIZE, match_titles, strip_axis
from sdhelpers.grid import show_film_strip as show_film_strip
from sdhelpers.grid import show_images as show_images
from sdhelpers.loop_map import draw_map
from sdhelpers.playground_twin import show_playground as show_playground
from sdhelpers.ribbon import show_tokens as show_tokens
from sdhelpers.twins import show_comparison as show_comparison
from sdhelpers.twins import show_guidance_mix as show_guidance_mix
from sdhelpers.twins import show_trajectory as show_trajectory


def show_latents(latents: torch.Tensor, titles: Sequence[str] | None = None) -> None:
    """Show the channels of latents as four maps, on one scale: blue below zero, red above.

    Args:
        latents: (B, 4, h, w), scaled; one row of maps for each of the B.
        titles: one for each row.

    Raises:
        ValueError: if the shape or the number of titles does not fit.
    """
    if latents.ndim != 4:
        raise ValueError(f"latents must have shape (B, 4, h, w), got {tuple(latents.shape)}.")
    num_rows, num_channels = latents.shape[:2]
    titles = match_titles(titles, num_rows)
    values = latents.detach().float().cpu().numpy()
    limit = float(np.abs(values).max())
    figure, axes = plt.subplots(
        num_rows,
        num_channels,
        figsize=(num_channels * INCHES + 0.8, num_rows * INCHES + 0.3),
        squeeze=False,
        layout="constrained",
    )
    for row, title, channels in zip(axes, titles, values, strict=True):
        for index, (axis, channel) in enumerate(zip(row, channels, strict=True)):
            drawn = axis.imshow(channel, cmap="RdBu_r", vmin=-limit, vmax=limit)
            strip_axis(axis)
            if row[0] is axes[0, 0]:
                axis.set_title(f"channel {index}", fontsize=TITLE_SIZE)
        row[0].set_ylabel(title, fontsize=TITLE_SIZE)
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    plt.show()


def show_shapes(**tensors: torch.Tensor) -> None:
    """Print one line for each tensor: name, shape, dtype and range.

    Args:
        tensors: name=tensor, in the order in which they shall appear.
    """
    name_width = max(map(len, tensors), default=0)
    shape_width = max((len(str(tuple(tensor.shape))) for tensor in tensors.values()), default=0)
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        low, high = tensor.min().item(), tensor.max().item()
        limits = f"[{low:.2f}, {high:.2f}]" if tensor.is_floating_point() else f"[{low}, {high}]"
        shape = str(tuple(tensor.shape))
        print(f"{name:<{name_width}}  {shape:<{shape_width}}  {dtype}  {limits}")


def show_map(room: str | None = None, image: Image.Image | None = None) -> None:
    """Show the map of the whole loop with one room lit.

    Args:
        room: number of the notebook that explains it, "01" to "06"; "07" lights all of them;
            None lights none.
        image: a picture to hang up where the loop ends.

    Raises:
        ValueError: if there is no such room.
    """
    draw_map(room, image)
    plt.show()

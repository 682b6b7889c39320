"""What the live controls show, as figures: for pages that run no widgets; a part of `show`."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from sdhelpers.grid import TITLE_SIZE, as_text, draw_grid, pick_evenly, show_film_strip
from sdhelpers.latents import LinearPreview, decode_latents, fit_linear_preview, latents_to_rgb
from sdhelpers.settings_grid import Axis, make_settings_grid, paint_cell
from sdhelpers.step import Step
from sdhelpers.stored_run import pick_picture, remix_step
from sdhelpers.trajectory import draw_run_curves, make_frames

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from sdhelpers.components import Components

_STEP_INCHES, _CELL_INCHES = 1.2, 1.35  # width of one picture
_CENTRED = {"ha": "center", "va": "center", "fontsize": 6, "clip_on": True}


def show_trajectory(
    steps: Sequence[Step],
    vae: "AutoencoderKL",
    *,
    preview: LinearPreview | None = None,
    picture: int = 0,
    num_columns: int = 6,
) -> None:
    """Show what `trajectory_explorer` walks through: a film strip, and curves of the norms.

    Args:
        steps: a run, such as `list(denoise(...))`.
        vae: decodes the clean guesses that are shown.
        preview: of that VAE; None: fitted here.
        picture: which one of the batch.
        num_columns: how many steps are shown, spread evenly from the first to the last.

    Raises:
        ValueError: if there are no steps, no such picture, or num_columns is not positive.
    """
    run = pick_picture(steps, picture)
    chosen = pick_evenly(range(len(run)), num_columns)
    frames = make_frames(run, vae, preview=preview, chosen=chosen)
    rows = {
        "latents": [frame.latents for frame in frames],
        "channels": [frame.channels for frame in frames],
        "clean guess": [frame.clean_guess for frame in frames],
        "noise prediction": [frame.noise_pred for frame in frames],
    }
    if frames[0].guidance_difference is not None:
        rows["text - uncond"] = [frame.guidance_difference for frame in frames]
    titles = [f"step {run[index].index + 1}\nsigma {run[index].sigma:.2f}" for index in chosen]
    show_film_strip(rows, titles, inches=_STEP_INCHES)
    draw_run_curves(run)
    plt.show()


def show_guidance_mix(
    step: Step,
    vae: "AutoencoderKL",
    scales: Sequence[float] = (0, 1, 3, 7.5, 12, 20),
    *,
    preview: LinearPreview | None = None,
    picture: int = 0,
) -> None:
    """Show what `guidance_mixer` mixes: a step's clean guess for several guidance scales.

    Args:
        step: a Step of a run whose guidance_scale was neither 0 nor 1.
        vae: decodes the clean guesses.
        scales: the guidance scales.
        preview: of that VAE; None: fitted here.
        picture: which one of the batch.

    Raises:
        ValueError: if the step lacks a prediction, or there is no scale or no such picture.
    """
    if len(scales) == 0:
        raise ValueError("scales must hold one guidance scale or more, got none.")
    (step,) = pick_picture([step], picture)
    mixed = [remix_step(step, scale) for scale in scales]
    guesses = torch.cat([each.pred_original_sample for each in mixed])
    preview = fit_linear_preview(vae) if preview is None else preview
    rows = {
        "preview": latents_to_rgb(guesses, preview),
        "decoded": decode_latents(vae, guesses),
    }
    show_film_strip(rows, [f"guidance scale {scale:g}" for scale in scales], inches=_CELL_INCHES)


def show_comparison(components: "Components", rows: Axis, columns: Axis, **settings: Any) -> None:
    """Show what `compare` shows: a grid of pictures over two settings, everything else equal.

    Args:
        components: the five parts.
        rows: one name -> its values, such as {"guidance_scale": [1, 4, 7.5]}.
        columns: likewise, another name.
        settings: of all cells; see `make_settings_grid`.

    Raises:
        ValueError: if the axes or the settings do not fit. A cell that fails shows its error.
    """
    grid = make_settings_grid(rows, columns, **settings)
    painted = [[_try_to_paint(components, cell) for cell in cells] for cells in grid.cells]
    sizes = [cell.size for row in painted for cell in row if isinstance(cell, Image.Image)]
    blank = Image.new("RGB", sizes[0] if sizes else (8, 8), "#e4e4e0")
    titles = [grid.column_labels] + [[""] * len(grid.column_labels)] * (len(painted) - 1)
    figure = draw_grid(
        [
            [
                (cell if isinstance(cell, Image.Image) else blank, as_text(title))
                for cell, title in zip(row, above, strict=True)
            ]
            for row, above in zip(painted, titles, strict=True)
        ],
        _CELL_INCHES,
    )
    axes = np.array(figure.axes).reshape(len(painted), -1)
    for row, label, cells in zip(axes, grid.row_labels, painted, strict=True):
        row[0].set_ylabel(_wrap(label), fontsize=TITLE_SIZE)
        for axis, cell in zip(row, cells, strict=True):
            if isinstance(cell, str):
                axis.text(0.5, 0.5, _wrap(cell), transform=axis.transAxes, **_CENTRED)
    plt.show()


def _try_to_paint(components: "Components", settings: dict[str, Any]) -> Image.Image | str:
    """Paint a cell, or give the error that it met."""
    try:
        return paint_cell(components, settings)
    except Exception as error:  # shown in the cell; the others go on
        return f"{type(error).__name__}: {error}"


def _wrap(text: str) -> str:
    """Break a text into lines as long as a cell is high."""
    return textwrap.fill(as_text(text), width=24)

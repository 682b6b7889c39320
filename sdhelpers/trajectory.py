"""A stored run as pictures: each frame made once, so that moving through them costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from sdhelpers.charts import draw_curves, figure_to_image
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import LinearPreview, decode_latents, fit_linear_preview, latents_to_rgb
from sdhelpers.step import Step
from sdhelpers.stored_run import guidance_difference, measure_run, pick_picture, unit_latents

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_SMALLEST_SIDE = 128  # pixels: smaller pictures are enlarged, cell by cell
_DECODED_AT_ONCE = 8  # pictures, so that memory has a bound
_CURVES_INCHES = (4.2, 2.7)
_CURVES_DOTS = 150  # per inch
_MARKER = "#26323d"


@dataclass(frozen=True, eq=False)
class Frame:
    """One step of a run, drawn. Maps show four channels as 2 x 2, blue below zero, red above.

    Attributes:
        caption: which step, in words and numbers.
        latents: linear preview of the latents before the step, scaled as the UNet sees them.
        channels: map of the same latents.
        clean_guess: `pred_original_sample`, decoded.
        noise_pred: map of the prediction that the run used.
        guidance_difference: map of text minus unconditional prediction; None where the run's
            guidance_scale of exactly 0 or 1 left one of them out.
        curves: the norms of the whole run and sigma, with a line at this step.
    """

    caption: str
    latents: Image.Image
    channels: Image.Image
    clean_guess: Image.Image
    noise_pred: Image.Image
    guidance_difference: Image.Image | None
    curves: Image.Image


def make_frames(
    steps: Sequence[Step],
    vae: "AutoencoderKL",
    *,
    preview: LinearPreview | None = None,
    picture: int = 0,
    chosen: Sequence[int] | None = None,
) -> list[Frame]:
    """Draw the steps of a stored run.

    Args:
        steps: a run, such as `list(denoise(...))`.
        vae: decodes the clean guesses, each once.
        preview: of that VAE; None: fitted here.
        picture: which one of the batch.
        chosen: places in `steps` of those to draw; None: all.

    Returns:
        One frame for each. A kind of map has one colour scale for the whole run: full colour at
        three times its root mean square.

    Raises:
        ValueError: if there are no steps, or no such picture.
    """
    steps = pick_picture(steps, picture)
    chosen = list(range(len(steps)) if chosen is None else chosen)
    preview = fit_linear_preview(vae) if preview is None else preview
    seen = torch.cat([unit_latents(step) for step in steps])
    differences = [guidance_difference(step) for step in steps]
    has_differences = all(difference is not None for difference in differences)
    guesses = torch.cat([steps[index].pred_original_sample for index in chosen])
    decoded = [decode_latents(vae, part) for part in guesses.split(_DECODED_AT_ONCE)]
    rows = zip(
        [_caption(steps[index], steps[-1].index + 1) for index in chosen],
        _enlarged(latents_to_rgb(seen[chosen], preview)),
        _draw_maps(seen, chosen),
        _enlarged(torch.cat(decoded)),
        _draw_maps(torch.cat([step.noise_pred for step in steps]), chosen),
        _draw_maps(torch.cat(differences), chosen) if has_differences else [None] * len(chosen),
        _draw_marked_curves(steps, chosen),
        strict=True,
    )
    return [Frame(*row) for row in rows]


def draw_run_curves(steps: Sequence[Step], size: tuple[float, float] = (6.5, 3.0)) -> Figure:
    """Draw what `measure_run` gives, over the steps, on a logarithmic axis."""
    figure = draw_curves(
        measure_run(steps),
        [step.index + 1 for step in steps],
        x_label="step",
        y_label="root mean square; sigma",
        log_y=True,
        points=True,
        size=size,
    )
    # Above the frame: inside it would lie on one of the curves.
    axis = figure.axes[0]
    axis.legend(
        fontsize=8,
        frameon=False,
        ncols=3,
        loc="lower left",
        bbox_to_anchor=(-0.1, 1),
        columnspacing=1,
        handlelength=1.5,
    )
    return figure


def enlarge(image: Image.Image) -> Image.Image:
    """Enlarge a small picture by a whole factor, cell by cell, so that browsers don't blur it."""
    factor = -(-_SMALLEST_SIDE // min(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _enlarged(pixel_values: torch.Tensor) -> list[Image.Image]:
    """Give pixel values as pictures that are large enough to look at."""
    return [enlarge(image) for image in tensor_to_images(pixel_values)]


def _draw_maps(values: torch.Tensor, chosen: list[int]) -> list[Image.Image]:
    """Draw the chosen ones of (N, 4, h, w) as 2 x 2 maps, on one scale around zero for all N."""
    # Not the largest value: one wild step would leave all others pale. What is beyond is clipped.
    limit = 3 * float(values.float().square().mean().sqrt()) or 1.0
    rows = torch.cat([values[chosen, ::2], values[chosen, 1::2]], dim=3)
    levels = rows.flatten(1, 2).float().cpu().numpy()
    colours = matplotlib.colormaps["RdBu_r"](levels / limit / 2 + 0.5, bytes=True)
    return [enlarge(Image.fromarray(colour).convert("RGB")) for colour in colours]


def _draw_marked_curves(steps: Sequence[Step], chosen: list[int]) -> list[Image.Image]:
    """Draw the curves once, and copies with a line at each chosen step."""
    figure = draw_run_curves(steps, _CURVES_INCHES)
    axis = figure.axes[0]
    plain = figure_to_image(figure, _CURVES_DOTS)
    # Rendering has laid the figure out, so its places are known now, counted from below.
    to_pixels = plain.width / figure.bbox.width
    bottom, top = (
        plain.height - round(edge * to_pixels) for edge in (axis.bbox.ymin, axis.bbox.ymax)
    )
    images = []
    for index in chosen:
        image = plain.copy()
        place = round(axis.transData.transform((steps[index].index + 1, 1.0))[0] * to_pixels)
        ImageDraw.Draw(image).rectangle((place - 1, top, place, bottom - 1), fill=_MARKER)
        images.append(image)
    return images


def _caption(step: Step, num_steps: int) -> str:
    """Say which step this is."""
    return (
        f"step {step.index + 1} of {num_steps}, timestep {step.timestep:g}, sigma {step.sigma:.3g}"
    )

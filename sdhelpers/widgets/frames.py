"""A stored run as pictures: each step a frame, each frame a sheet, all sheets an animation."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from sdhelpers.images import tensor_to_images
from sdhelpers.latents import LinearPreview, decode_latents, fit_linear_preview, latents_to_rgb
from sdhelpers.show.charts import INK, draw_curves, figure_to_image
from sdhelpers.steps import Step, guidance_difference, measure_run, pick_picture, unit_latents
from sdhelpers.validation import is_count

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_SMALLEST_SIDE = 128  # pixels: smaller pictures are enlarged, cell by cell
_DECODED_AT_ONCE = 8  # pictures, so that memory has a bound
_CURVES_INCHES = (4.2, 2.7)
_CURVES_DOTS = 150  # per inch

# A sheet: three pictures with titles in a row, the curves below.
_SIDE = 192  # pixels: the width of each picture
_GAP = 12  # pixels between them, and around
_TITLE_SIZE = 15  # pixels
_TITLE_HEIGHT = 24  # pixels
_LAST_SHEET_STAYS = 8  # times as long as the others


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
        [_write_caption(steps[index], steps[-1].index + 1) for index in chosen],
        _enlarge_all(latents_to_rgb(seen[chosen], preview)),
        _draw_maps(seen, chosen),
        _enlarge_all(torch.cat(decoded)),
        _draw_maps(torch.cat([step.noise_pred for step in steps]), chosen),
        _draw_maps(torch.cat(differences), chosen) if has_differences else [None] * len(chosen),
        _draw_marked_curves(steps, chosen),
        strict=True,
    )
    return [Frame(*row) for row in rows]


def _write_caption(step: Step, num_steps: int) -> str:
    """Say which step this is."""
    return (
        f"step {step.index + 1} of {num_steps}, timestep {step.timestep:g}, sigma {step.sigma:.3g}"
    )


def enlarge(image: Image.Image) -> Image.Image:
    """Enlarge a small picture by a whole factor, cell by cell, so that browsers don't blur it."""
    factor = -(-_SMALLEST_SIDE // min(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _enlarge_all(pixel_values: torch.Tensor) -> list[Image.Image]:
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
        ImageDraw.Draw(image).rectangle((place - 1, top, place, bottom - 1), fill=INK)
        images.append(image)
    return images


def frame_to_image(frame: Frame) -> Image.Image:
    """Lay the latents, the clean guess and the noise prediction side by side over the curves."""
    row = {
        "latents": frame.latents,
        "clean guess": frame.clean_guess,
        "noise prediction": frame.noise_pred,
    }
    width = (_SIDE + _GAP) * len(row) + _GAP
    height = round(_SIDE * frame.latents.height / frame.latents.width)
    curves_height = round(width * frame.curves.height / frame.curves.width)
    sheet = Image.new("RGB", (width, _TITLE_HEIGHT + height + _GAP + curves_height), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TITLE_SIZE)
    for index, (title, image) in enumerate(row.items()):
        left = _GAP + index * (_SIDE + _GAP)
        pen.text((left, 3), title, fill="black", font=font)
        # Cells stay cells; only the decoded guess is a picture, to be smoothed.
        is_smooth = image is frame.clean_guess
        resample = Image.Resampling.BICUBIC if is_smooth else Image.Resampling.NEAREST
        sheet.paste(image.resize((_SIDE, height), resample), (left, _TITLE_HEIGHT))
    curves = frame.curves.resize((width, curves_height))
    sheet.paste(curves, (0, _TITLE_HEIGHT + height + _GAP))
    return sheet


def make_trajectory_gif(frames: Sequence[Frame], *, milliseconds: int = 150) -> bytes:
    """Make an animated picture of a run, repeated for ever.

    Args:
        frames: as `make_frames` gives them.
        milliseconds: of each frame; the last one stays longer.

    Returns:
        The bytes of a GIF file.

    Raises:
        ValueError: if there is no frame, or the time is no positive integer.
    """
    if not frames or not is_count(milliseconds):
        raise ValueError(
            "A GIF needs at least one frame, and milliseconds must be a positive integer; got "
            f"{len(frames)} frames and {milliseconds!r}."
        )
    sheets = [frame_to_image(frame) for frame in frames]
    durations = [milliseconds] * (len(sheets) - 1) + [milliseconds * _LAST_SHEET_STAYS]
    buffer = io.BytesIO()
    sheets[0].save(
        buffer, "GIF", save_all=True, append_images=sheets[1:], duration=durations, loop=0
    )
    return buffer.getvalue()


def save_trajectory_gif(
    path: str | Path, frames: Sequence[Frame], *, milliseconds: int = 150
) -> None:
    """Write what `make_trajectory_gif` makes.

    Args:
        path: of the file, ending in .gif; one that exists is replaced.
        frames: as `make_frames` gives them.
        milliseconds: of each frame.

    Raises:
        ValueError: as `make_trajectory_gif`, or if the path is no file's in an existing folder.
        OSError: if it cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() != ".gif" or path.is_dir():
        raise ValueError(f"path must name a file that ends in .gif, got {str(path)!r}.")
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {str(path.parent)!r}: make it first.")
    # First encoded, then written: an error in drawing leaves the file as it was.
    path.write_bytes(make_trajectory_gif(frames, milliseconds=milliseconds))

"""A stored run as an animated picture."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sdhelpers.trajectory import Frame
from sdhelpers.validation import is_count

_SIDE = 192  # pixels: the width of each of the three pictures
_GAP = 12  # pixels between them, and around
_TITLE_SIZE = 15  # pixels
_TITLE_HEIGHT = 24  # pixels
_LAST_FRAME_STAYS = 8  # times as long as the others


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
    durations = [milliseconds] * (len(sheets) - 1) + [milliseconds * _LAST_FRAME_STAYS]
    buffer = io.BytesIO()
    sheets[0].save(
        buffer, "GIF", save_all=True, append_images=sheets[1:], duration=durations, loop=0
    )
    return buffer.getvalue()


def save_trajectory_gif(
    path: str | Path, frames: Sequence[Frame], *, milliseconds: int = 150
) -> None:
    """Write what `make_trajectory_gif` makes; the file is there whole or not at all.

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
    encoded = make_trajectory_gif(frames, milliseconds=milliseconds)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.write_bytes(encoded)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)

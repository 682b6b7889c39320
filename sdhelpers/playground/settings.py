"""What the playground's controls say, and the PNG files that carry it along."""

import io
import itertools
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdhelpers.latents import picture_size
from sdhelpers.schedule import SCHEDULERS
from sdhelpers.validation import check_guidance_scale, is_count
from sdhelpers.widgets.panes import HIGHEST_GUIDANCE_SCALE, encode_png

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sdhelpers.model.parts import Components

START_PROMPT = "a photograph of an astronaut riding a horse"
MOST_STEPS = 100
HIGHEST_INTEGER = 2**53 - 1  # up to it a browser's numbers are exact
_COUNTS = {
    "num_inference_steps": (1, MOST_STEPS),
    "seed": (0, HIGHEST_INTEGER),
    "height": (1, HIGHEST_INTEGER),
    "width": (1, HIGHEST_INTEGER),
}
_KEY = "sdhelpers"  # of the text in a PNG file


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a picture depends on, apart from the model; named as in `sampling.generate`.

    Each value is of its kind, and within what the controls can say; whether a model can paint with
    it is for `Painter.prepare` to say.

    Attributes:
        prompt: one prompt.
        negative_prompt: what to push away from; "" is the empty prompt.
        guidance_scale: [0, 20]; 0 is unconditional, 1 plain text, 7.5 usual.
        num_inference_steps: [1, 100].
        seed: [0, 2**53).
        scheduler: a name of `schedule.SCHEDULERS`.
        height: in pixels, a multiple of the VAE's factor.
        width: likewise.
    """

    prompt: str
    negative_prompt: str = ""
    guidance_scale: float = 7.5
    num_inference_steps: int = 20
    seed: int = 0
    scheduler: str
    height: int
    width: int

    def __post_init__(self) -> None:
        """Raise a ValueError if a control could not say this."""
        for name in ("prompt", "negative_prompt", "scheduler"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a string, got {getattr(self, name)!r}.")
        check_guidance_scale(self.guidance_scale)
        if not 0 <= self.guidance_scale <= HIGHEST_GUIDANCE_SCALE:
            raise ValueError(
                f"guidance_scale must be from 0 to {HIGHEST_GUIDANCE_SCALE:g} here, got "
                f"{self.guidance_scale!r}. 7.5 is usual."
            )
        for name, (lowest, highest) in _COUNTS.items():
            value = getattr(self, name)
            if not is_count(value, lowest) or value > highest:
                raise ValueError(
                    f"{name} must be an integer from {lowest} to {highest} here, got {value!r}."
                )

    def describe(self) -> str:
        """Give one line of plain text for a caption; not escaped."""
        count = self.num_inference_steps
        negative = f', not "{self.negative_prompt}"' if self.negative_prompt else ""
        return (
            f'"{self.prompt}"{negative} · guidance {self.guidance_scale:g} · '
            f"{count} step{'s' * (count != 1)} of {self.scheduler} · seed {self.seed} · "
            f"{self.width} x {self.height}"
        )


def fit_settings(
    components: "Components",
    *,
    scheduler: str | None = None,
    height: int | None = None,
    width: int | None = None,
    **others: Any,
) -> Settings:
    """Make settings for a model, and fill in what is left open.

    Args:
        components: the five parts.
        scheduler: None: the model's own if the table has it, or else the table's first.
        height: in pixels; None: the size of training.
        width: likewise.
        others: the other settings.

    Raises:
        ValueError: if a value does not fit.
    """
    if scheduler is None:
        own = type(components.scheduler)
        names = [name for name, scheduler_class in SCHEDULERS.items() if scheduler_class is own]
        scheduler = [*names, *SCHEDULERS][0]
    height, width = picture_size(components.unet, components.vae, height, width)
    return Settings(scheduler=scheduler, height=height, width=width, **others)


def make_settings(values: "Mapping[str, object]") -> Settings:
    """Make settings from what a file says.

    Args:
        values: name -> value, exactly the fields of `Settings`.

    Raises:
        ValueError: if a name is missing or unknown, or a value does not fit.
    """
    names = [field.name for field in fields(Settings)]
    given = list(values) if isinstance(values, dict) else []
    if sorted(given) != sorted(names):
        raise ValueError(
            f"Settings must name exactly {', '.join(names)}; got "
            f"{', '.join(given) or type(values).__name__}."
        )
    return Settings(**values)


def encode_painting(image: Image.Image, settings: Settings) -> bytes:
    """Give the bytes of a PNG file that carries its settings.

    Args:
        image: any picture.
        settings: written into the file as a line of JSON that `read_settings` finds and any
            program for pictures can show.
    """
    text = PngInfo()
    line = json.dumps(asdict(settings), default=lambda number: number.item())  # NumPy's numbers
    text.add_text(_KEY, line)
    return encode_png(image, text)


def read_settings(png: bytes) -> Settings:
    """Find the settings in a PNG file that the playground saved.

    Args:
        png: the file's bytes.

    Returns:
        What the picture was painted with.

    Raises:
        ValueError: if this is no whole PNG file, holds no settings, or holds bad ones.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            text = image.text  # reads to the end of the file, so a truncated one is found here
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"This is not a whole PNG file: {error}") from error
    if _KEY not in text:
        raise ValueError(
            "This PNG file holds no settings: only pictures that the playground saved do, and "
            "many programs drop them when they save a picture again."
        )
    try:
        values = json.loads(text[_KEY])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The settings in this PNG file are no JSON: {error}") from error
    return make_settings(values)


def write_new_file(folder: Path, png: bytes) -> Path:
    """Write into the first of playground-001.png, playground-002.png, ... that is free.

    Args:
        folder: must exist.
        png: the file's bytes.

    Returns:
        The path of the new file; no file is ever overwritten.

    Raises:
        OSError: if the folder can't be written to.
    """
    for number in itertools.count(1):
        path = folder / f"playground-{number:03}.png"
        try:
            file = path.open("xb")
        except FileExistsError:
            continue
        try:
            with file:
                file.write(png)
        except BaseException:  # half a picture would look like a whole one
            path.unlink(missing_ok=True)
            raise
        return path

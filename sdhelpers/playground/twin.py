"""What the playground shows, as a figure: a part of `show`."""

import io
import textwrap
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from sdhelpers.playground.painter import Painter
from sdhelpers.playground.settings import START_PROMPT, fit_settings
from sdhelpers.show.pictures import TITLE_SIZE, as_text, pick_evenly, strip_axis

if TYPE_CHECKING:
    from sdhelpers.model.parts import Components

_WIDTH, _PICTURE_INCHES, _STRIP_INCHES = 7.2, 2.0, 1.0
_LETTERS = 64  # in a line beside the picture
_LINE_POINTS = 12.5  # height of a line
_FEWEST_PLACES = 6  # in the row: fewer pictures stay small, and left
_INK, _WARNING = "#26323d", "#a8323e"


def show_playground(
    components: "Components",
    prompt: str = START_PROMPT,
    *,
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = 20,
    seed: int = 0,
    scheduler: str | None = None,
    height: int | None = None,
    width: int | None = None,
    num_columns: int = 6,
) -> None:
    """Show what `playground` shows for these settings: picture, previews on the way, price.

    Args:
        components: the five parts, as `load_components` gives them. Left unchanged.
        prompt: what to paint; so for all that follows.
        negative_prompt: what to push away from; "" is the empty prompt.
        guidance_scale: [0, 20].
        num_inference_steps: [1, 100].
        seed: [0, 2**53).
        scheduler: a name of `schedule.SCHEDULERS`; None: the model's own, or else the first.
        height: in pixels, a multiple of the VAE's factor; None: the size of training.
        width: likewise.
        num_columns: how many clean guesses are shown, spread evenly from the first to the last.

    Raises:
        ValueError: before any computing, if an argument does not fit.
        FloatingPointError: at the step that makes latents NaN or infinite.
    """
    settings = fit_settings(
        components,
        prompt=prompt,
        negative_prompt=negative_prompt,
        guidance_scale=guidance_scale,
        num_inference_steps=num_inference_steps,
        seed=seed,
        scheduler=scheduler,
        height=height,
        width=width,
    )
    painter = Painter(components)
    request = painter.prepare(settings)
    num_calls = request.num_unet_calls
    chosen = pick_evenly(range(num_calls), num_columns)
    *way, painting = painter.paint(request)
    price = f"Price: {num_calls} UNet call{'s' * (num_calls != 1)}"
    lines = _wrap([settings.describe(), price], _INK)
    lines += _wrap(painter.find_word_trouble(settings), _WARNING)
    picture, text, strip = _lay_out(settings.height / settings.width, len(lines), len(chosen))
    _hang(picture, painting.png)
    for number, (line, colour) in enumerate(lines):
        written = text.annotate(
            line,
            xy=(0, 1),
            xycoords="axes fraction",
            xytext=(0, -number * _LINE_POINTS),
            textcoords="offset points",
            va="top",
            fontsize=TITLE_SIZE,
            color=colour,
        )
        written.set_in_layout(False)  # the figure was made large enough for all lines
    for axis, index in zip(strip, chosen, strict=True):
        _hang(axis, way[index].png)
        axis.set_title(f"step {index + 1}\nsigma {way[index].sigma:.2f}", fontsize=TITLE_SIZE)
    strip[0].set_ylabel("clean guess", fontsize=TITLE_SIZE)
    plt.show()


def _wrap(paragraphs: list[str], colour: str) -> list[tuple[str, str]]:
    """Break paragraphs into (line, colour), with an empty line after each."""
    lines = []
    for paragraph in paragraphs:
        lines += [*textwrap.wrap(as_text(paragraph), width=_LETTERS), ""]
    return [(line, colour) for line in lines]


def _lay_out(
    height_to_width: float, num_lines: int, num_columns: int
) -> tuple[plt.Axes, plt.Axes, list[plt.Axes]]:
    """Make a figure: the picture, beside it a place for text, below a row for the way."""
    above = max(_PICTURE_INCHES * height_to_width, num_lines * _LINE_POINTS / 72)
    heights = [above, _STRIP_INCHES * height_to_width + 0.4]
    figure = plt.figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    upper, lower = figure.add_gridspec(2, 1, height_ratios=heights)
    widths = [_PICTURE_INCHES, _WIDTH - _PICTURE_INCHES]
    row = lower.subgridspec(1, max(num_columns, _FEWEST_PLACES))
    places = [*upper.subgridspec(1, 2, width_ratios=widths), *list(row)[:num_columns]]
    picture, text, *strip = (figure.add_subplot(place) for place in places)
    for axis in (picture, text, *strip):
        strip_axis(axis)
        axis.set_anchor("NW")
    return picture, text, strip


def _hang(axis: plt.Axes, png: bytes) -> None:
    """Show a PNG file's picture."""
    axis.imshow(np.asarray(Image.open(io.BytesIO(png))))

"""What the playground shows, standing still: `show_playground`, its static twin."""

import io
import textwrap
from typing import TYPE_CHECKING, Any

from PIL import Image

from sdhelpers.playground.painter import Painter
from sdhelpers.playground.settings import START_PROMPT, fit_settings
from sdhelpers.show.charts import INK, show_figure
from sdhelpers.show.pictures import TITLE_SIZE, draw_grid, pick_evenly

if TYPE_CHECKING:
    from sdhelpers.model.parts import Components

_INCHES = 1.7  # width of one picture
_MOST_COLUMNS = 4
_LETTERS_PER_INCH = 12
_LINE_INCHES = 0.17
_LEFT = {"x": 0.01, "ha": "left", "fontsize": TITLE_SIZE, "parse_math": False}
_WARNING = "#a8323e"


def show_playground(
    components: "Components",
    prompt: str = START_PROMPT,
    *,
    num_columns: int = 6,
    **settings: Any,
) -> None:
    """Show what `playground` shows for these settings: previews on the way, picture, price.

    Args:
        components: the five parts, as `load_components` gives them. Left unchanged.
        prompt: what to paint.
        num_columns: how many clean guesses are shown, spread evenly from the first to the last.
        settings: as for `playground`.

    Raises:
        ValueError: before any computing, if an argument does not fit.
        FloatingPointError: at the step that makes latents NaN or infinite.
    """
    settings = fit_settings(components, prompt=prompt, **settings)
    painter = Painter(components)
    request = painter.prepare(settings)
    chosen = pick_evenly(range(request.num_unet_calls), num_columns)
    *way, painting = painter.paint(request)
    cells = [
        (_decode(way[index].png), f"step {index + 1}, sigma {way[index].sigma:.2f}")
        for index in chosen
    ]
    cells.append((_decode(painting.png), "picture"))
    rows = [cells[start:][:_MOST_COLUMNS] for start in range(0, len(cells), _MOST_COLUMNS)]
    figure = draw_grid(rows, _INCHES)
    width = int(figure.get_figwidth() * _LETTERS_PER_INCH)
    above = _wrap([settings.describe(), f"Price: {request.price}"], width)
    below = _wrap(painter.find_word_trouble(settings), width)
    figure.suptitle("\n".join(above), color=INK, **_LEFT)
    figure.supxlabel("\n".join(below), color=_WARNING, **_LEFT)
    figure.set_figheight(figure.get_figheight() + len(above + below) * _LINE_INCHES)
    show_figure(figure)


def _decode(png: bytes) -> Image.Image:
    """Give a PNG file's picture."""
    return Image.open(io.BytesIO(png))


def _wrap(paragraphs: list[str], width: int) -> list[str]:
    """Break paragraphs into lines of at most so many letters."""
    return [line for text in paragraphs for line in textwrap.wrap(text, width)]

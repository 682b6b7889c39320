"""Everything that draws: pictures, latents, film strips, numbers, tokens, the map of the loop.

Nothing is computed here. Every `show_*` draws into a new figure, shows it and returns None; every
`draw_*` gives the figure, for a control that sets it as a picture (`figure_to_image`).
"""

from sdhelpers.show.charts import (
    draw_curves,
    figure_to_image,
    show_bars,
    show_curves,
    show_heat_map,
)
from sdhelpers.show.loop_map import show_map
from sdhelpers.show.pictures import show_film_strip, show_images, show_latents, show_shapes
from sdhelpers.show.tokens import draw_budget, draw_tokens, show_budget, show_tokens

__all__ = [
    "draw_budget",
    "draw_curves",
    "draw_tokens",
    "figure_to_image",
    "show_bars",
    "show_budget",
    "show_curves",
    "show_film_strip",
    "show_heat_map",
    "show_images",
    "show_latents",
    "show_map",
    "show_shapes",
    "show_tokens",
]


def __dir__() -> list[str]:
    """List the public names, for tab completion."""
    return list(__all__)

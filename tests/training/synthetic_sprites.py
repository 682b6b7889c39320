"""Small sprites made on the spot, so that the tests need neither the artwork nor the network."""

import colorsys
import os
from contextlib import contextmanager

from PIL import Image, ImageDraw

from training import paint, sprites
from training.nouns import NOUNS, RECOLOURED_PART


def draw_sprite(index: int, is_pale: bool) -> Image.Image:
    """Draw an ellipse or a box with a darker half; its hue and its shape depend on the index."""
    saturation = 0.05 if is_pale else 0.8
    size = (60, 40 + index % 3 * 10)
    image = Image.new("RGBA", size)
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if index % 2 else draw.rectangle
    for value, box in ((0.9, (0, 0, 59, size[1] - 1)), (0.6, (6, size[1] // 2, 30, size[1] - 6))):
        rgb = colorsys.hsv_to_rgb(index / len(NOUNS), saturation, value)
        shape(box, fill=(*(round(255 * part) for part in rgb), 255))
    return image


@contextmanager
def synthetic_sprites(folder):
    """Fill a folder with a sprite for every noun and make the scenes use it."""
    for index, noun in enumerate(NOUNS):
        sprite = draw_sprite(index, RECOLOURED_PART.get(noun) == "pale")
        sprite.save(folder / sprites.sprite_file_names(noun)[0], lossless=True)
    before = os.environ.get(sprites.FOLDER_VARIABLE)
    os.environ[sprites.FOLDER_VARIABLE] = str(folder)
    sprites.load_sprite.cache_clear()
    paint.coloured_sprite.cache_clear()
    try:
        yield
    finally:
        if before is None:
            del os.environ[sprites.FOLDER_VARIABLE]
        else:
            os.environ[sprites.FOLDER_VARIABLE] = before
        sprites.load_sprite.cache_clear()
        paint.coloured_sprite.cache_clear()

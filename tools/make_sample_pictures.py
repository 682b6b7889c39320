"""Draw the sample pictures of the notebooks: `python -m tools.make_sample_pictures`.

Six are scenes of the training's grammar, from seeds that training never draws; two are drawn here,
for what scenes lack: letters and fine stripes. Seeds, words and widths are fixed.
"""

from pathlib import Path
from random import Random
from unittest.mock import patch

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from training.world import scenes
from training.world.facts import RIDING, Facts, Thing
from training.world.paint import IMAGE_SIZE
from training.world.scenes import FIRST_EVALUATION_SEED

SAMPLES = Path(__file__).parents[1] / "notebooks" / "pictures" / "samples"
FONT = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
SCENES = {
    "astronaut": Facts((Thing("astronaut"), Thing("horse")), RIDING, "on the grass"),
    "butterfly": Facts((Thing("butterfly"),), background="in the desert"),
    "cake": Facts((Thing("birthday cake"),), background="purple"),
    "cat": Facts((Thing("cat"),), background="light blue"),
    "fox": Facts((Thing("fox"), Thing("truck")), RIDING, "at sunset"),
    "shark": Facts((Thing("shark"),), background="in the sea"),
}
STRIPE_WIDTHS = [16, 8, 4, 2]  # pixels: upper left, upper right, lower left, lower right


def draw_scene(name: str) -> Image.Image:
    """Draw the scene of a name.

    Its seed is its place in the list, counted from the first that is for evaluation only. The
    grammar mirrored half of its things when these were drawn. The notebooks' figures belong to
    these pictures, so they stay.
    """
    source = Random(FIRST_EVALUATION_SEED + list(SCENES).index(name))
    with patch.object(scenes, "MIRRORED_SHARE", 0.5):
        return scenes.paint_from(SCENES[name], source)


def draw_sign() -> Image.Image:
    """Draw a sign with two large words and two small ones, on a lawn below a pale sky."""
    image = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), (196, 221, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 104, 127, 127), fill=(104, 164, 88))
    draw.rectangle((58, 88, 69, 116), fill=(120, 84, 52))
    draw.rounded_rectangle((8, 16, 119, 91), radius=8, fill=(250, 246, 232), outline=(120, 84, 52))
    for text, size, middle in [("KEEP OFF", 18, 33), ("THE GRASS", 15, 57), ("thank you", 9, 78)]:
        font = ImageFont.truetype(FONT, size, layout_engine=ImageFont.Layout.BASIC)
        draw.text((64, middle), text, fill=(30, 44, 92), font=font, anchor="mm")
    return image


def draw_stripes() -> Image.Image:
    """Draw black and white stripes of four widths, one in each quarter."""
    half = IMAGE_SIZE // 2
    columns = np.arange(half)
    quarters = [np.tile(columns // width % 2 * 255, (half, 1)) for width in STRIPE_WIDTHS]
    return Image.fromarray(np.block([quarters[:2], quarters[2:]]).astype(np.uint8)).convert("RGB")


def main() -> None:
    """Draw all eight."""
    SAMPLES.mkdir(parents=True, exist_ok=True)
    pictures = {name: draw_scene(name) for name in SCENES}
    pictures |= {"sign": draw_sign(), "stripes": draw_stripes()}
    for name, image in pictures.items():
        image.save(SAMPLES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()

"""Paint the parts of a scene with numpy and Pillow: colours, places, styles, pasted sprites."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from training.world.nouns import RECOLOURED_PART
from training.world.sprites import load_sprite

if TYPE_CHECKING:
    from random import Random

# Pixels: the width and height of a scene, eight times the latents' 16.
IMAGE_SIZE = 128
# RGB, 0-255. Light and clear, so that each name means one look.
COLOURS = {
    "white": (242, 242, 246),
    "black": (36, 36, 42),
    "red": (214, 50, 50),
    "orange": (245, 145, 50),
    "yellow": (250, 218, 70),
    "green": (80, 175, 85),
    "blue": (60, 110, 220),
    "light blue": (165, 212, 250),
    "purple": (145, 85, 200),
    "pink": (250, 160, 195),
    "gray": (150, 150, 155),
    "brown": (140, 95, 65),
}
# Top and bottom of the sky, then the ground's colour or None, RGB 0-255.
PLACE_COLOURS = {
    "in the sky": ((105, 170, 250), (215, 236, 255), None),
    "at night": ((12, 14, 50), (48, 48, 105), (22, 40, 40)),
    "at sunset": ((88, 58, 140), (255, 160, 90), (92, 52, 80)),
    "in the desert": ((250, 225, 170), (255, 240, 205), (222, 160, 84)),
    "on the grass": ((150, 210, 250), (222, 240, 255), (100, 182, 80)),
    "on the beach": ((120, 200, 250), (200, 235, 252), (242, 222, 165)),
    "in the snow": ((165, 195, 232), (205, 222, 242), (248, 251, 255)),
    "in space": ((6, 4, 22), (34, 14, 58), None),
    "in the sea": ((64, 165, 215), (12, 62, 130), None),
}


def recolour(sprite: Image.Image, colour: str, part: str) -> Image.Image:
    """Give part of a sprite a new colour, keeping its light and shade.

    Args:
        sprite: PIL RGBA.
        colour: name of one of `COLOURS`.
        part: "main" for the pixels near the sprite's main hue, "pale" for its greys.

    Returns:
        PIL RGBA, a new picture.

    Raises:
        ValueError: if no pixel belongs to that part.
    """
    rgba = np.asarray(sprite).astype(np.float32)
    rgb, opacity = rgba[..., :3], rgba[..., 3]
    hue, saturation, value = np.moveaxis(
        np.asarray(sprite.convert("RGB").convert("HSV")).astype(np.float32), -1, 0
    )
    if part == "pale":
        mask = np.clip((90 - saturation) / 30, 0, 1) * np.clip((value - 90) / 30, 0, 1)
    else:
        weights = (opacity > 128) * (saturation > 90) * (value > 60)
        counts = np.bincount(hue.astype(int).ravel(), weights.ravel(), minlength=256)
        window = sum(np.roll(counts, shift) for shift in range(-8, 9))
        distance = np.abs((hue - window.argmax() + 128) % 256 - 128)
        mask = np.clip((30 - distance) / 8, 0, 1) * np.clip((saturation - 40) / 25, 0, 1)
    is_repainted = (mask > 0.5) & (opacity > 128)
    if not is_repainted.any():
        raise ValueError(f"the sprite has no {part!r} pixels to make {colour}; use the other part")
    light = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    shade = light / np.median(light[is_repainted])
    target = np.array(COLOURS[colour], dtype=np.float32)
    dark = target * np.minimum(shade, 1)[..., None] ** 0.8
    painted = dark + (255 - target) * np.clip(shade - 1, 0, 1)[..., None] * 0.6
    rgba[..., :3] = rgb + (painted - rgb) * mask[..., None]
    return Image.fromarray(rgba.clip(0, 255).round().astype(np.uint8))


@lru_cache(maxsize=512)
def coloured_sprite(noun: str, colour: str | None) -> Image.Image:
    """Return a noun's sprite in a colour (None: its own); shared, not to be changed."""
    sprite = load_sprite(noun)
    return sprite if colour is None else recolour(sprite, colour, RECOLOURED_PART[noun])


def resize_to_fit(
    sprite: Image.Image, height: float, max_width: float = 0.9 * IMAGE_SIZE
) -> Image.Image:
    """Scale a sprite to a height in pixels, or less where it would be too wide."""
    scale = min(height / sprite.height, max_width / sprite.width)
    size = (max(1, round(sprite.width * scale)), max(1, round(sprite.height * scale)))
    return sprite.resize(size, Image.Resampling.LANCZOS)


def paint_place(place: str, random: Random) -> np.ndarray:
    """Paint one of the nine places; the horizon, the stars and the sun move with the seed.

    Returns:
        (128, 128, 3) float32, 0-255.
    """
    top, bottom, ground = (
        None if c is None else np.array(c, np.float32) for c in PLACE_COLOURS[place]
    )
    y, x = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE].astype(np.float32)
    horizon = IMAGE_SIZE * (1 if ground is None else random.uniform(0.55, 0.72))
    pixels = top + (bottom - top) * np.clip(y / horizon, 0, 1)[..., None]
    if place == "at sunset":
        centre, radius = random.uniform(20, 108), random.uniform(14, 20)
        disc = np.clip(radius - np.hypot(x - centre, y - horizon), 0, 1)[..., None]
        pixels = pixels + (np.array([255, 225, 130]) - pixels) * disc
    if place in ("at night", "in space"):
        for _ in range(18):
            row, column = random.randrange(int(horizon) - 4), random.randrange(IMAGE_SIZE - 2)
            pixels[row : row + 2, column : column + 2] += 150
    if place == "on the beach":
        pixels[int(horizon) - 14 : int(horizon)] = (50, 140, 205)
    if ground is not None:
        wave = random.uniform(1, 5) * np.sin(x / random.uniform(12, 30) + random.uniform(0, 6))
        if place == "on the beach":
            wave = wave * 0.3
        is_ground = np.clip(y - horizon - wave, 0, 1)[..., None]
        pixels = pixels + (ground * (1 - 0.1 * y / IMAGE_SIZE)[..., None] - pixels) * is_ground
    return pixels


def paint_background(background: str, random: Random) -> Image.Image:
    """Paint a plain colour or a place.

    Returns:
        PIL RGB, 128 x 128.
    """
    if background in PLACE_COLOURS:
        pixels = paint_place(background, random)
    else:
        pixels = np.broadcast_to(np.array(COLOURS[background]), (IMAGE_SIZE, IMAGE_SIZE, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8))


def apply_style(image: Image.Image, style: str) -> Image.Image:
    """Redraw a finished scene in one of the styles.

    Args:
        image: PIL RGB.
        style: "plain", "pencil drawing", "pixel art" or "watercolour".

    Returns:
        PIL RGB of the same size.
    """
    if style == "pencil drawing":
        gray = image.convert("L")
        blurred = ImageChops.invert(gray).filter(ImageFilter.GaussianBlur(3))
        tones = np.asarray(gray, np.float32)
        dodged = np.minimum(tones * 255 / np.maximum(255 - np.asarray(blurred), 1.0), 255)
        shaded = dodged * (0.6 + 0.4 * tones / 255)
        return Image.fromarray(shaded.astype(np.uint8)).convert("RGB")
    if style == "pixel art":
        small = image.resize((IMAGE_SIZE // 4,) * 2, Image.Resampling.BOX)
        small = small.quantize(16, dither=Image.Dither.NONE).convert("RGB")
        return small.resize(image.size, Image.Resampling.NEAREST)
    if style == "watercolour":
        soft = image.filter(ImageFilter.ModeFilter(5))
        edges = np.asarray(soft.convert("L").filter(ImageFilter.FIND_EDGES), np.float32)
        edges[[0, -1]] = edges[:, [0, -1]] = 0  # the filter leaves the border as it was
        ink = np.asarray(soft, np.float32) * (1 - 0.5 * edges / 255)[..., None]
        paper = np.array([252, 248, 238], np.float32)
        washed = Image.fromarray((ink * 0.78 + paper * 0.22).clip(0, 255).astype(np.uint8))
        return washed.filter(ImageFilter.GaussianBlur(0.7))
    return image

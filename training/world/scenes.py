"""Scenes: `scene(seed)` gives a picture, its caption and the facts that both agree on."""

import random as random_module
from dataclasses import dataclass

from PIL import Image, ImageOps

from training.world.captions import make_captions
from training.world.facts import (
    HEIGHT_RELATIONS,
    RIDING,
    SIDE_RELATIONS,
    Facts,
    Thing,
    draw_facts,
)
from training.world.nouns import HEADS, SEATS
from training.world.paint import (
    IMAGE_SIZE,
    apply_style,
    coloured_sprite,
    paint_background,
    resize_to_fit,
)

# Seeds from here on are for evaluation only; training draws below it.
FIRST_EVALUATION_SEED = 1_000_000_000
# Share of things, and of riders with their mounts, that face the other way, no unit. With a half, a
# small network that was trained for hours still painted animals with a head at either end.
MIRRORED_SHARE = 0.15


@dataclass(frozen=True)
class Scene:
    """A picture of 128 x 128 pixels (PIL RGB), its caption, its facts, and a wrong caption or None.

    The last is the contrary caption of `make_captions`.
    """

    image: Image.Image
    caption: str
    facts: Facts
    contrary_caption: str | None


def crowned(sprite: Image.Image, noun: str) -> Image.Image:
    """Return a new, taller sprite that wears a crown."""
    x, y, width = HEADS[noun]
    crown = coloured_sprite("crown", None)
    crown = resize_to_fit(crown, sprite.height, max_width=width * sprite.width)
    room = max(0, crown.height - round(y * sprite.height))
    canvas = Image.new("RGBA", (sprite.width, sprite.height + room))
    canvas.paste(sprite, (0, room))
    left = round(x * sprite.width - crown.width / 2)
    top = room + round(y * sprite.height) - crown.height
    canvas.alpha_composite(crown, (max(0, left), max(0, top)))
    return canvas


def maybe_mirrored(sprite: Image.Image, random: random_module.Random) -> Image.Image:
    """Return the mirror image of a sprite for a `MIRRORED_SHARE` of calls, else the sprite."""
    return ImageOps.mirror(sprite) if random.random() < MIRRORED_SHARE else sprite


def make_sprite(thing: Thing, random: random_module.Random) -> Image.Image:
    """Return a thing's sprite, recoloured, crowned and now and then mirrored."""
    sprite = coloured_sprite(thing.noun, thing.colour)
    if thing.has_crown:
        sprite = crowned(sprite, thing.noun)
    return maybe_mirrored(sprite, random)


def paste_centred(image: Image.Image, sprite: Image.Image, x: float, y: float) -> None:
    """Paste a sprite with its centre at (x, y) in pixels, moved inside the picture if it fits."""
    left = min(max(round(x - sprite.width / 2), 0), max(0, IMAGE_SIZE - sprite.width))
    top = min(max(round(y - sprite.height / 2), 0), max(0, IMAGE_SIZE - sprite.height))
    image.paste(sprite, (left, top), sprite)


def paint_alone(image: Image.Image, thing: Thing, random: random_module.Random) -> None:
    """Paint one thing, or two or three of a kind, somewhere near the middle."""
    if thing.count == 1:
        sprite = resize_to_fit(make_sprite(thing, random), random.randint(64, 104))
        paste_centred(image, sprite, 64 + random.randint(-16, 16), 64 + random.randint(-12, 14))
        return
    centres = [(36, 64), (92, 64)] if thing.count == 2 else [(34, 88), (94, 88), (64, 36)]
    height = random.randint(46, 54) if thing.count == 2 else random.randint(40, 48)
    for x, y in centres:
        sprite = resize_to_fit(make_sprite(thing, random), height, max_width=54)
        paste_centred(image, sprite, x + random.randint(-3, 3), y + random.randint(-4, 4))


def paint_riding(
    image: Image.Image, rider: Thing, mount: Thing, random: random_module.Random
) -> None:
    """Paint a rider that sits on a mount's back; the pair may be mirrored."""
    mount_sprite = resize_to_fit(coloured_sprite(mount.noun, mount.colour), random.randint(66, 78))
    rider_sprite = resize_to_fit(make_sprite(rider, random), random.randint(40, 48), max_width=46)
    seat_x, seat_y = SEATS[mount.noun]
    overlap = round(0.14 * rider_sprite.height)
    left = round(seat_x * mount_sprite.width - rider_sprite.width / 2)
    top = round(seat_y * mount_sprite.height) + overlap - rider_sprite.height
    origin_x, origin_y = min(left, 0), min(top, 0)
    width = max(mount_sprite.width, left + rider_sprite.width) - origin_x
    height = max(mount_sprite.height, top + rider_sprite.height) - origin_y
    pair = Image.new("RGBA", (width, height))
    pair.alpha_composite(mount_sprite, (-origin_x, -origin_y))
    pair.alpha_composite(rider_sprite, (left - origin_x, top - origin_y))
    pair = maybe_mirrored(pair, random)
    paste_centred(image, pair, 64 + random.randint(-14, 14), 68 + random.randint(-8, 12))


def paint_pair(image: Image.Image, facts: Facts, random: random_module.Random) -> None:
    """Paint two things side by side or one above the other, as their relation says."""
    first, second = facts.things
    if facts.relation in HEIGHT_RELATIONS:
        places = [(64 + random.randint(-16, 16), 34), (64 + random.randint(-16, 16), 94)]
        is_swapped = facts.relation == "below"
    else:
        places = [(34, 66 + random.randint(-12, 12)), (94, 66 + random.randint(-12, 12))]
        is_left_open = facts.relation not in SIDE_RELATIONS
        is_swapped = random.random() < 0.5 if is_left_open else facts.relation == "to the right of"
    for thing, (x, y) in zip((first, second), places[::-1] if is_swapped else places, strict=True):
        sprite = resize_to_fit(make_sprite(thing, random), random.randint(48, 58), max_width=58)
        paste_centred(image, sprite, x + random.randint(-4, 4), y + random.randint(-3, 3))


def paint_facts(facts: Facts, seed: int) -> Image.Image:
    """Paint a scene with given facts; the seed decides sizes, places and mirror images.

    Its draws are apart from those that choose the facts of the same seed. Shared, they tied what is
    in a scene to where it stands: nearly no single thing was mirrored, for example.

    Returns:
        PIL RGB, 128 x 128.
    """
    return paint_from(facts, random_module.Random(f"paint {seed}"))


def paint_from(facts: Facts, random: random_module.Random) -> Image.Image:
    """Paint a scene with given facts, its sizes, places and mirror images from a source of chance.

    Returns:
        PIL RGB, 128 x 128.
    """
    image = paint_background(facts.background, random)
    if facts.relation is None:
        paint_alone(image, facts.things[0], random)
    elif facts.relation == RIDING:
        paint_riding(image, *facts.things, random)
    else:
        paint_pair(image, facts, random)
    return apply_style(image, facts.style)


def scene(seed: int) -> Scene:
    """Make the scene of a seed: the same one every time, never a held-out combination.

    Args:
        seed: int, at least 0. Training uses seeds below `FIRST_EVALUATION_SEED`.

    Returns:
        `Scene`.

    Raises:
        ValueError: if the seed is not an int of at least 0.
    """
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}; give an int of at least 0")
    random = random_module.Random(seed)
    facts = draw_facts(random)
    caption, contrary_caption = make_captions(facts, random)
    return Scene(paint_facts(facts, seed), caption, facts, contrary_caption)

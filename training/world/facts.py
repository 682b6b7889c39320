"""What is in a scene: objects, relation, colours, background, style; and what is held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.world.nouns import ANY_COLOUR, HEADS, MOUNTS, NOUNS, RECOLOURABLE, RIDERS

if TYPE_CHECKING:
    from random import Random

OBJECT_COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white"]
BACKGROUND_COLOURS = (
    "white",
    "black",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "light blue",
    "purple",
    "pink",
    "gray",
    "brown",
)
PLACES = (
    "in the sky",
    "at night",
    "at sunset",
    "in the desert",
    "on the grass",
    "on the beach",
    "in the snow",
    "in space",
    "in the sea",
)
STYLES = ("plain", "pencil drawing", "pixel art", "watercolour")
# Backgrounds, besides the colour's own, in front of which an object of that colour vanishes.
LOOKS_ALIKE = {
    "blue": ("light blue", "in the sea"),
    "black": ("at night", "in space"),
    "white": ("in the snow",),
}
RIDING = "riding"
NEXT_TO = "next to"
SIDE_RELATIONS = ("to the left of", "to the right of")
HEIGHT_RELATIONS = ("above", "below")

# Shares of the kinds of scene, no unit. The rest, 0.36, is one object alone.
KIND_SHARES = {
    "riding": 0.20,
    "next to": 0.10,
    "side": 0.12,
    "height": 0.10,
    "crown": 0.05,
    "several": 0.07,
}
# Shares of scenes, no unit.
COLOUR_SHARE = 0.6  # a recolourable noun that has its colour word
UNSAID_COLOUR_SHARE = 0.5  # a made thing that has a colour where its caption names none
PLACE_SHARE = 0.5  # a place rather than a plain colour behind the objects
STYLE_SHARE = 0.12  # any style but plain
SAYS_BACKGROUND_SHARE = 0.75  # the rest leave it free, so that seeds differ
SAYS_STYLE_SHARE = 0.9

# Never in a training scene, said or unsaid, whatever else is in it. The model must compose them.
HELD_OUT_RIDES = (
    ("astronaut", "horse"),
    ("panda", "bicycle"),
    ("frog", "tiger"),
    ("robot", "elephant"),
    ("penguin", "motorcycle"),
    ("cat", "dinosaur"),
    ("wizard", "turtle"),
    ("teddy bear", "zebra"),
    ("ghost", "camel"),
    ("fox", "whale"),
)
HELD_OUT_PAIRS = (
    ("dog", "pizza"),
    ("cat", "guitar"),
    ("lion", "umbrella"),
    ("owl", "castle"),
    ("robot", "banana"),
    ("star", "house"),
    ("moon", "tree"),
    ("car", "cactus"),
    ("apple", "book"),
    ("rocket", "planet"),
)
HELD_OUT_COLOURS = (
    ("blue", "horse"),
    ("purple", "car"),
    ("green", "pig"),
    ("pink", "elephant"),
    ("yellow", "balloon"),
    ("white", "heart"),
    ("orange", "whale"),
    ("black", "apple"),
    ("green", "teapot"),
    ("red", "dinosaur"),
)
HELD_OUT_CROWNS = ("penguin", "fox")


@dataclass(frozen=True)
class Thing:
    """One object, or two or three of a kind. A colour of None means the sprite's own."""

    noun: str
    colour: str | None = None
    says_colour: bool = True
    count: int = 1
    has_crown: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything about a scene that a caption can say, and whether it does say it.

    With a relation there are two things, and it reads from the first to the second: first
    "riding" second, first "to the left of" second. "next to" leaves the sides open.
    """

    things: tuple[Thing, ...]
    relation: str | None = None
    background: str = "white"
    style: str = "plain"
    says_background: bool = True
    says_style: bool = True

    @property
    def is_place(self) -> bool:
        """Whether the background is a place rather than a plain colour."""
        return self.background in PLACES


def is_held_out(facts: Facts) -> bool:
    """Say whether a scene contains a combination that training must never see."""
    nouns = tuple(thing.noun for thing in facts.things)
    pairs = {frozenset(pair) for pair in HELD_OUT_PAIRS}
    return (
        (facts.relation == RIDING and nouns in HELD_OUT_RIDES)
        or frozenset(nouns) in pairs
        or any((thing.colour, thing.noun) in HELD_OUT_COLOURS for thing in facts.things)
        or any(thing.has_crown and thing.noun in HELD_OUT_CROWNS for thing in facts.things)
    )


def draw_thing(noun: str, is_coloured: bool, random: Random, **properties: int | bool) -> Thing:
    """Choose a noun's colour and whether the caption will name it."""
    if noun not in RECOLOURABLE or not is_coloured:
        return Thing(noun, **properties)
    if random.random() < COLOUR_SHARE:
        return Thing(noun, random.choice(OBJECT_COLOURS), **properties)
    if noun in ANY_COLOUR and random.random() < UNSAID_COLOUR_SHARE:
        return Thing(noun, random.choice(OBJECT_COLOURS), says_colour=False, **properties)
    return Thing(noun, **properties)


def draw_things(
    kind: str, is_coloured: bool, random: Random
) -> tuple[tuple[Thing, ...], str | None]:
    """Choose the objects of one kind of scene and how they relate.

    Returns:
        (tuple of `Thing`, relation or None).
    """
    if kind == "crown":
        return (draw_thing(random.choice(list(HEADS)), False, random, has_crown=True),), None
    if kind == "several":
        count = random.choice((2, 3))
        return (draw_thing(random.choice(NOUNS), is_coloured, random, count=count),), None
    if kind == "riding":
        nouns, relation = (random.choice(RIDERS), random.choice(MOUNTS)), RIDING
    elif kind == "single":
        nouns, relation = (random.choice(NOUNS),), None
    else:
        relations = {"side": SIDE_RELATIONS, "height": HEIGHT_RELATIONS}.get(kind, (NEXT_TO,))
        nouns, relation = random.sample(NOUNS, 2), random.choice(relations)
    return tuple(draw_thing(noun, is_coloured, random) for noun in nouns), relation


def draw_background(things: tuple[Thing, ...], random: Random) -> str:
    """Choose a place or a plain colour in front of which none of the objects vanishes."""
    colours = {thing.colour for thing in things}
    taken = colours.union(*(LOOKS_ALIKE.get(colour, ()) for colour in colours))
    backgrounds = PLACES if random.random() < PLACE_SHARE else BACKGROUND_COLOURS
    return random.choice([background for background in backgrounds if background not in taken])


def draw_facts(random: Random) -> Facts:
    """Choose the facts of a training scene, never a held-out combination.

    Args:
        random: random.Random; the only source of chance.
    """
    while True:
        kinds = [*KIND_SHARES, "single"]
        shares = [*KIND_SHARES.values(), 1 - sum(KIND_SHARES.values())]
        kind = random.choices(kinds, shares)[0]
        is_styled = random.random() < STYLE_SHARE
        style = random.choice(STYLES[1:]) if is_styled else "plain"
        is_coloured = style != "pencil drawing"  # pencils are grey: no colour to name
        things, relation = draw_things(kind, is_coloured, random)
        facts = Facts(
            things=things,
            relation=relation,
            background=draw_background(things, random) if is_coloured else "white",
            style=style,
            says_background=is_coloured and random.random() < SAYS_BACKGROUND_SHARE,
            says_style=random.random() < SAYS_STYLE_SHARE,
        )
        if not is_held_out(facts):
            return facts

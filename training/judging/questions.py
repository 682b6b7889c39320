"""The questions that the judge answers about a picture, and their true answers from the facts.

A horse left of a car *is* a car right of a horse: a picture can't tell the two apart. So answers
have one order only: the first thing is the rider, the left one, the upper one, or the wearer.
"""

from dataclasses import replace
from random import Random

import torch

from training.world.facts import (
    BACKGROUND_COLOURS,
    HEIGHT_RELATIONS,
    HELD_OUT_COLOURS,
    HELD_OUT_CROWNS,
    HELD_OUT_PAIRS,
    HELD_OUT_RIDES,
    NEXT_TO,
    OBJECT_COLOURS,
    PLACES,
    RIDING,
    SAYS_BACKGROUND_SHARE,
    SIDE_RELATIONS,
    STYLES,
    Facts,
    Thing,
    draw_background,
    draw_facts,
)
from training.world.nouns import NOUNS

ALONE, BESIDE, STACKED, WEARING = "alone", "beside", "stacked", "wearing"
BACKGROUNDS = (*BACKGROUND_COLOURS, *PLACES)
# Each question with its possible answers; exactly one of them is true of a picture.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "relation": (ALONE, RIDING, BESIDE, STACKED, WEARING),
    "first": NOUNS,
    "second": NOUNS,
    "first_colour": tuple(OBJECT_COLOURS),
    "second_colour": tuple(OBJECT_COLOURS),
    "background": BACKGROUNDS,
    "style": STYLES,
}
# The target of a question that a picture leaves open, such as the second thing of one alone.
NO_ANSWER = -1
NUM_HELD_OUT = sum(map(len, (HELD_OUT_RIDES, HELD_OUT_PAIRS, HELD_OUT_COLOURS, HELD_OUT_CROWNS)))


def in_picture_order(facts: Facts) -> tuple[str, Thing, Thing | None]:
    """Say what a picture can show of a relation: (relation, first thing, second thing or None).

    Raises:
        ValueError: for "next to", whose sides the facts leave open; see `settle_sides`.
    """
    first = facts.things[0]
    if facts.relation is None:
        return (WEARING, first, Thing("crown")) if first.has_crown else (ALONE, first, None)
    second = facts.things[1]
    if facts.relation == RIDING:
        return RIDING, first, second
    if facts.relation == NEXT_TO:
        raise ValueError('"next to" has no order; give the facts to settle_sides first')
    is_swapped = facts.relation in (SIDE_RELATIONS[1], HEIGHT_RELATIONS[1])
    first, second = (second, first) if is_swapped else (first, second)
    return (BESIDE if facts.relation in SIDE_RELATIONS else STACKED), first, second


def settle_sides(facts: Facts, random: Random) -> Facts:
    """Return facts that say who is left where "next to" left it open; others stay as they are."""
    if facts.relation != NEXT_TO:
        return facts
    return replace(facts, relation=random.choice(SIDE_RELATIONS))


def make_targets(facts: Facts) -> dict[str, torch.Tensor]:
    """Turn facts into the true answers.

    Returns:
        "nouns": (129,) float32, 1 for each noun in the picture. Every question of `QUESTIONS`: an
        int64 scalar, the index of the answer, or `NO_ANSWER`.

    Raises:
        ValueError: if the facts leave the order open ("next to").
    """
    relation, first, second = in_picture_order(facts)
    nouns = torch.zeros(len(NOUNS))
    nouns[[NOUNS.index(thing.noun) for thing in (first, second) if thing]] = 1
    answers = {
        "relation": relation,
        "first": first.noun,
        "second": second and second.noun,
        "first_colour": first.colour,
        "second_colour": second and second.colour,
        "background": facts.background,
        "style": facts.style,
    }
    targets = {"nouns": nouns}
    for question, answer in answers.items():
        index = NO_ANSWER if answer is None else QUESTIONS[question].index(answer)
        targets[question] = torch.tensor(index)
    return targets


def held_out_things(index: int, random: Random) -> tuple[tuple[Thing, ...], str | None]:
    """Return the things of one held-out combination and a relation that it can stand in.

    Args:
        index: int; combinations repeat after `NUM_HELD_OUT`.
        random: the source of chance.
    """
    index %= NUM_HELD_OUT
    if index < len(HELD_OUT_RIDES):
        return tuple(Thing(noun) for noun in HELD_OUT_RIDES[index]), RIDING
    index -= len(HELD_OUT_RIDES)
    if index < len(HELD_OUT_PAIRS):
        nouns = random.sample(HELD_OUT_PAIRS[index], 2)
        relation = random.choice((NEXT_TO, *SIDE_RELATIONS, *HEIGHT_RELATIONS))
        return tuple(Thing(noun) for noun in nouns), relation
    index -= len(HELD_OUT_PAIRS)
    if index < len(HELD_OUT_COLOURS):
        colour, noun = HELD_OUT_COLOURS[index]
        return (Thing(noun, colour),), None
    return (Thing(HELD_OUT_CROWNS[index - len(HELD_OUT_COLOURS)], has_crown=True),), None


def draw_held_out(index: int, random: Random) -> Facts:
    """Choose the facts of a scene with one held-out combination, in plain style."""
    things, relation = held_out_things(index, random)
    return Facts(
        things,
        relation,
        background=draw_background(things, random),
        says_background=random.random() < SAYS_BACKGROUND_SHARE,
    )


def draw_judged_facts(seed: int, held_out_share: float) -> Facts:
    """Choose the facts of a scene from which the judge learns, or on which it is examined.

    Args:
        seed: int, at least 0.
        held_out_share: share of held-out combinations. The painter must never see them; a judge
            that had not would doubt every picture that shows them.

    Returns:
        `Facts` with settled sides.
    """
    random = Random(seed)
    if random.random() < held_out_share:
        return settle_sides(draw_held_out(random.randrange(NUM_HELD_OUT), random), random)
    return settle_sides(draw_facts(random), random)

"""From the facts of a scene to its caption: articles, plurals, synonyms, word order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.world.facts import NEXT_TO
from training.world.nouns import SYNONYMS

if TYPE_CHECKING:
    from random import Random

    from training.world.facts import Facts, Thing

NUMBER_WORDS = {2: "two", 3: "three"}
IRREGULAR_PLURALS = {
    "mouse": "mice",
    "sheep": "sheep",
    "deer": "deer",
    "fish": "fish",
    "cup of coffee": "cups of coffee",
    "maple leaf": "maple leaves",
    "snowman": "snowmen",
    "superhero": "superheroes",
    "volcano": "volcanoes",
}
# The article follows the sound, not the letter: "a unicorn", "a UFO", "an orange".
SOUNDS_LIKE_A_CONSONANT = ("unicorn", "UFO")
PLAIN_OPENINGS = ("a photograph of ", "a photo of ", "a picture of ", "an image of ", "")
STYLE_OPENINGS = {
    "pencil drawing": ("a pencil drawing of ", "a pencil sketch of "),
    "pixel art": ("pixel art of ", "a pixel art picture of "),
    "watercolour": ("a watercolour of ", "a watercolor painting of "),
}


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase, by its first sound."""
    if not phrase:
        raise ValueError("an empty phrase has no article; give at least one word")
    vowel = phrase[0].lower() in "aeiou" and phrase.split()[0] not in SOUNDS_LIKE_A_CONSONANT
    return f"{'an' if vowel else 'a'} {phrase}"


def plural(noun: str) -> str:
    """Return the plural of a noun of the vocabulary or of a synonym."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "sh", "ch", "x", "tomato")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def thing_phrase(thing: Thing, random: Random) -> str:
    """Describe one `Thing`: "a blue horse", "two cats", "a panda wearing a crown"."""
    word = thing.noun
    if word in SYNONYMS and random.random() < 0.3:
        word = random.choice(SYNONYMS[word])
    colour = f"{thing.colour} " if thing.colour and thing.says_colour else ""
    if thing.count > 1:
        return f"{NUMBER_WORDS[thing.count]} {colour}{plural(word)}"
    phrase = with_article(f"{colour}{word}")
    return f"{phrase} wearing a crown" if thing.has_crown else phrase


def background_phrase(facts: Facts) -> str:
    """Describe the background: " on a blue background", " in the snow", or nothing."""
    if not facts.says_background:
        return ""
    if facts.is_place:
        return f" {facts.background}"
    return f" on {with_article(facts.background)} background"


def draw_frame(facts: Facts, random: Random) -> tuple[str, str]:
    """Choose what stands before and behind the subject of a caption: style and wording."""
    if facts.style == "plain" or not facts.says_style:
        openings = PLAIN_OPENINGS if facts.style == "plain" else ("", "a picture of ")
        return random.choice(openings), ""
    if random.random() < 0.2:
        return "", f", {facts.style}"
    return random.choice(STYLE_OPENINGS[facts.style]), ""


def make_captions(facts: Facts, random: Random) -> tuple[str, str | None]:
    """Write the caption of a scene, and one that is wrong.

    The wrong one says the same of the same things in the contrary order: "a cat above a dog" where
    the dog is above. Without a relation that has an order there is none.

    Args:
        facts: `Facts`.
        random: random.Random, the source of the wording; it changes no fact.

    Returns:
        (caption, contrary caption or None): str, such as "a photo of a cat to the left of a red car
        in the snow" and "a photo of a red car to the left of a cat in the snow".
    """
    phrases = [thing_phrase(thing, random) for thing in facts.things]
    opening, ending = draw_frame(facts, random)

    def frame(parts: list[str]) -> str:
        subject = f" {facts.relation} ".join(parts)
        return f"{opening}{subject}{background_phrase(facts)}{ending}"

    has_order = facts.relation not in (None, NEXT_TO)
    return frame(phrases), frame(phrases[::-1]) if has_order else None


def make_caption(facts: Facts, random: Random) -> str:
    """Write the caption of a scene; see `make_captions`."""
    return make_captions(facts, random)[0]

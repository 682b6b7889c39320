"""Prompts that training never saw, and whether a picture shows what its prompt says.

How many there are, and from which seeds; their categories, in the manner of GenEval.

Source: Ghosh et al. 2023, GenEval: An Object-Focused Framework for Evaluating Text-to-Image
Alignment, arXiv 2310.11513. There the judge is an object detector and the world is open.
"""

import itertools
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from random import Random

from training.engine.settings import CacheSettings
from training.judging.judge import Answers
from training.judging.measures import share_with_interval
from training.judging.questions import ALONE, BESIDE, draw_held_out, in_picture_order
from training.world.captions import make_caption
from training.world.facts import NEXT_TO, RIDING, Facts, Thing, draw_facts
from training.world.scenes import FIRST_EVALUATION_SEED

CATEGORIES = (
    "single_object",
    "two_objects",
    "relation",
    "background",
    "object_colour",
    "held_out",
)
# Draws per wanted prompt before giving up. The rarest category takes about 50.
MAX_DRAWS = 5000
# Where each part's seeds begin, above `FIRST_EVALUATION_SEED`; a category takes up to 5 million.
SEEDS = {
    "examination": 0,
    "vae": 100_000,
    "diversity": 1_000_000,
    "prompts": 100_000_000,
    "reference": 200_000_000,
    "curve": 300_000_000,
    "curve_reference": 400_000_000,
}


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of the evaluation."""

    # Prompts per category. 500 give intervals of about two points on either side of 0.95.
    num_prompts: int = 500
    # Prompts per category at each point of the curves; 25 give 150 pictures a point.
    num_curve_prompts: int = 25
    # Scenes for PSNR and SSIM.
    num_vae_scenes: int = 1000
    # Scenes on which the judge is examined.
    num_examined: int = 2000
    # Prompts that name no background, and pictures of each, for the diversity.
    num_diversity_prompts: int = 16
    num_seeds: int = 12
    # No unit. 1 is no guidance; 7.5 is usual for the large model.
    guidance_scales: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0)
    # Steps per picture.
    step_counts: tuple[int, ...] = (5, 10, 20, 30, 50)
    # The three schedulers of the curves over steps; the first paints everything else.
    schedulers: tuple[str, ...] = ("DPM-Solver++", "PNDM", "DDIM")
    # Steps of the main figures, those of the first scheduler.
    num_inference_steps: int = 20
    # No unit; None takes the best of the curve, whose prompts are other ones.
    guidance_scale: float | None = None
    # Pictures at a time. More than 32 gain nothing on a CPU; a GPU takes 250.
    batch_size: int = 32
    # Scenes of the training's cache, whose captions are no prompts here: the shipped model's.
    first_training_seed: int = CacheSettings.first_seed
    num_training_scenes: int = 300_000


@dataclass(frozen=True)
class Prompt:
    """A prompt, the facts that it states, and the seed of both and of the picture's noise."""

    text: str
    facts: Facts
    seed: int


PromptSet = dict[str, list[Prompt]]


def seen_captions(first_seed: int, num_scenes: int) -> frozenset[str]:
    """Return the captions of the scenes that the model was trained on, without painting them."""
    captions = set()
    for seed in range(first_seed, first_seed + num_scenes):
        random = Random(seed)
        captions.add(make_caption(draw_facts(random), random))
    return frozenset(captions)


def is_in_category(facts: Facts, category: str) -> bool:
    """Say whether a scene of the training's grammar suits a category, "held_out" excepted."""
    first = facts.things[0]
    is_single = facts.relation is None and first.count == 1 and not first.has_crown
    says_colour = first.colour is not None and first.says_colour
    suits = {
        "single_object": is_single and not says_colour,
        "two_objects": facts.relation == NEXT_TO,
        "relation": facts.relation not in (None, NEXT_TO),
        "background": is_single and facts.says_background,
        "object_colour": is_single and says_colour,
    }
    return facts.style == "plain" and suits[category]


def draw_prompts(
    category: str, count: int, first_seed: int, seen: AbstractSet[str] = frozenset()
) -> list[Prompt]:
    """Draw the prompts of one category, all different, none of which training saw.

    Args:
        category: one of `CATEGORIES`. "held_out" goes through the held-out combinations in turn.
        count: prompts, at least 1.
        first_seed: seeds are tried from here on; at least `FIRST_EVALUATION_SEED`.
        seen: captions of the training, and other prompts, which are passed over.

    Raises:
        ValueError: if the category is unknown, the seed belongs to training, or nearly all
            captions of the category were seen.
    """
    if category not in CATEGORIES:
        raise ValueError(f"no category {category!r}; choose one of {', '.join(CATEGORIES)}")
    if count < 1 or first_seed < FIRST_EVALUATION_SEED:
        raise ValueError(
            f"got {count} prompts from seed {first_seed}; give at least 1, from a seed of at "
            f"least {FIRST_EVALUATION_SEED}: training uses those below"
        )
    prompts, taken = [], set()
    for seed in range(first_seed, first_seed + MAX_DRAWS * count):
        random = Random(seed)
        is_held_out = category == "held_out"
        facts = draw_held_out(seed - first_seed, random) if is_held_out else draw_facts(random)
        if is_held_out or is_in_category(facts, category):
            text = make_caption(facts, random)
            if text not in seen and text not in taken:
                taken.add(text)
                prompts.append(Prompt(text, facts, seed))
        if len(prompts) == count:
            return prompts
    raise ValueError(
        f"found only {len(prompts)} of {count} new prompts for {category!r}: training saw nearly "
        "all of its captions; ask for fewer"
    )


def first_seed(part: str) -> int:
    """Return where a part's seeds begin."""
    return FIRST_EVALUATION_SEED + SEEDS[part]


def draw_prompt_set(part: str, count: int, seen: frozenset[str]) -> PromptSet:
    """Draw `count` prompts of every category, from the seeds of a part."""
    spacing = 10_000_000
    return {
        category: draw_prompts(category, count, first_seed(part) + spacing * index, seen)
        for index, category in enumerate(CATEGORIES)
    }


def join(prompt_set: PromptSet) -> list[Prompt]:
    """Return all prompts in one list, category after category."""
    return [prompt for prompts in prompt_set.values() for prompt in prompts]


def diversity_prompts(count: int, seen: frozenset[str]) -> list[Prompt]:
    """Return prompts that leave the background open, the astronaut on its horse first."""
    facts = Facts((Thing("astronaut"), Thing("horse")), RIDING, says_background=False)
    start = first_seed("diversity")
    prompts = [Prompt("a photograph of an astronaut riding a horse", facts, start)]
    drawn = draw_prompts("relation", 12 * count, start + 1, seen)
    open_ones = [prompt for prompt in drawn if not prompt.facts.says_background]
    return [*prompts, *open_ones][:count]


def is_relation_right(facts: Facts, answers: Answers, row: int) -> bool:
    """Say whether a picture shows the right things in the right relation and order."""
    answered = [answers.answer(row, name) for name in ("relation", "first", "second")]
    if facts.relation == NEXT_TO:  # either may be left
        nouns = sorted(thing.noun for thing in facts.things)
        return answered[0] == BESIDE and sorted(answered[1:]) == nouns
    relation, first, second = in_picture_order(facts)
    if second is None:
        return answered[:2] == [ALONE, first.noun]
    return answered == [relation, first.noun, second.noun]


def is_colour_right(facts: Facts, answers: Answers, row: int) -> bool:
    """Say whether a picture shows the one thing of a prompt, and in the prompt's colour."""
    (thing,) = facts.things
    is_there = answers.sees(row, thing.noun) and answers.answer(row, "first") == thing.noun
    return is_there and answers.answer(row, "first_colour") == thing.colour


def is_right(category: str, facts: Facts, answers: Answers, row: int) -> bool:
    """Judge one picture.

    Args:
        category: one of `CATEGORIES`; it decides what counts. "single_object" and "two_objects"
            count the nouns, "background" the background alone, "relation" both nouns, relation
            and order, "object_colour" noun and colour, "held_out" whichever makes the combination.
        facts: what the prompt states.
        answers: of the judge.
        row: which of its pictures.
    """
    if category in ("single_object", "two_objects"):
        return all(answers.sees(row, thing.noun) for thing in facts.things)
    if category == "background":
        return answers.answer(row, "background") == facts.background
    is_coloured = facts.relation is None and facts.things[0].colour is not None
    return (is_colour_right if is_coloured else is_relation_right)(facts, answers, row)


def kind_of(facts: Facts) -> str:
    """Name what a prompt combines: its relation, a colour, or a crown."""
    if facts.relation is not None:
        return facts.relation
    return "wearing a crown" if facts.things[0].has_crown else "colour"


def score(category: str, prompts: Sequence[Prompt], answers: Answers) -> dict:
    """Count the right pictures of a category.

    Args:
        category: one of `CATEGORIES`.
        prompts: one for each picture.
        answers: of the judge, about the pictures, in the same order.

    Returns:
        right, total, share, low, high (95 % Wilson interval); and "kinds", the same for each kind
        of combination, where the category has several.

    Raises:
        ValueError: if there are not as many answers as prompts.
    """
    if len(prompts) != len(answers.nouns):
        raise ValueError(f"{len(answers.nouns)} pictures were judged for {len(prompts)} prompts")
    verdicts = [
        (kind_of(prompt.facts), is_right(category, prompt.facts, answers, row))
        for row, prompt in enumerate(prompts)
    ]
    result = share_with_interval(sum(right for _, right in verdicts), len(verdicts))
    if category not in ("relation", "held_out"):
        return result
    groups = itertools.groupby(sorted(verdicts), key=lambda verdict: verdict[0])
    kinds = {kind: [right for _, right in group] for kind, group in groups}
    return {
        **result,
        "kinds": {kind: share_with_interval(sum(all_), len(all_)) for kind, all_ in kinds.items()},
    }

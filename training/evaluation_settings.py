"""How much the evaluation measures, and from which seeds and prompts."""

from dataclasses import dataclass

from training.facts import RIDING, Facts, Thing
from training.fidelity import CATEGORIES, Prompt, draw_prompts
from training.scenes import FIRST_EVALUATION_SEED
from training.settings import CacheSettings


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
PromptSet = dict[str, list[Prompt]]


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

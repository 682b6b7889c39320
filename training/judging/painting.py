"""Pictures to look at and to judge: painted by the model, rendered, or decoded by the VAE."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import median

import torch
from PIL import Image

from sdhelpers.model.parts import Components
from sdhelpers.sampling import generate
from training.judging.prompts import Prompt
from training.stages.autoencoder import encode_decode
from training.world.data import image_to_picture
from training.world.facts import OBJECT_COLOURS, UNSAID_COLOUR_SHARE, Facts, draw_background
from training.world.nouns import ANY_COLOUR
from training.world.scenes import paint_facts


@dataclass(frozen=True)
class Sampling:
    """How the model paints.

    Attributes:
        scheduler: a name of `sdhelpers.schedule.SCHEDULERS`.
        num_inference_steps: steps.
        guidance_scale: no unit; 1 is no guidance.
    """

    scheduler: str = "DPM-Solver++"
    num_inference_steps: int = 20
    guidance_scale: float = 5.0


def save_grid(images: Sequence[Image.Image], path: Path, num_columns: int = 8) -> None:
    """Write PIL RGB pictures of one size into one PNG, row by row.

    Raises:
        ValueError: if there are no pictures.
    """
    if not images:
        raise ValueError("no images to show; give at least one")
    width, height = images[0].size
    num_columns = min(num_columns, len(images))
    num_rows = -(-len(images) // num_columns)
    grid = Image.new("RGB", (num_columns * width, num_rows * height), "white")
    for index, image in enumerate(images):
        grid.paste(image, (index % num_columns * width, index // num_columns * height))
    grid.save(path)


def paint_images(
    components: Components,
    texts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling,
    batch_size: int = 8,
) -> list[Image.Image]:
    """Let the model paint one picture for each prompt and seed.

    Args:
        components: of the model.
        texts: N prompts.
        seeds: N seeds of the noise, so that a picture doesn't depend on its batch.
        sampling: how.
        batch_size: pictures at a time.

    Returns:
        N PIL RGB pictures.
    """
    images = []
    for start in range(0, len(texts), batch_size):
        images += generate(
            components,
            list(texts[start : start + batch_size]),
            seed=list(seeds[start : start + batch_size]),
            scheduler=sampling.scheduler,
            num_inference_steps=sampling.num_inference_steps,
            guidance_scale=sampling.guidance_scale,
            show_progress=False,
        )
    return images


def paint(
    components: Components, prompts: Sequence[Prompt], sampling: Sampling, batch_size: int
) -> torch.Tensor:
    """Let the model paint prompts for the judge.

    Returns:
        (N, 3, 128, 128) uint8.
    """
    texts, seeds = [prompt.text for prompt in prompts], [prompt.seed for prompt in prompts]
    images = paint_images(components, texts, seeds, sampling, batch_size)
    return torch.stack([image_to_picture(image) for image in images])


def seconds_for_one(components: Components, sampling: Sampling, repeats: int = 3) -> float:
    """Time one picture alone, prompt to PIL image: the median, in seconds, after one to warm up."""
    times = []
    for seed in range(repeats + 1):
        started = time.perf_counter()
        paint_images(components, ["a cat"], [seed], sampling)
        times.append(time.perf_counter() - started)
    return median(times[1:])


def render(prompts: Sequence[Prompt]) -> torch.Tensor:
    """Render the scenes that prompts describe, as training pictures are made.

    Returns:
        (N, 3, 128, 128) uint8.
    """
    images = [paint_facts(prompt.facts, prompt.seed) for prompt in prompts]
    return torch.stack([image_to_picture(image) for image in images])


def decode_encoded(components: Components, pictures: torch.Tensor) -> torch.Tensor:
    """Send pictures (N, 3, 128, 128) uint8 through the VAE, there and back, rounded to bytes."""
    decoded = [
        ((encode_decode(components.vae, batch)[1] + 1) * 127.5).round().byte()
        for batch in pictures.split(64)
    ]
    return torch.cat(decoded)


def vary_unsaid(facts: Facts, seed: int) -> Facts:
    """Redraw what a caption leaves open: the background, and the colours of made things.

    Args:
        facts: their caption names neither background nor colours, or keeps what it names.
        seed: int.
    """
    random = Random(f"vary {seed}")
    things = []
    for thing in facts.things:
        is_said = thing.colour is not None and thing.says_colour
        if thing.noun in ANY_COLOUR and not is_said:
            is_coloured = random.random() < UNSAID_COLOUR_SHARE
            colour = random.choice(OBJECT_COLOURS) if is_coloured else None
            thing = replace(thing, colour=colour, says_colour=False)
        things.append(thing)
    facts = replace(facts, things=tuple(things))
    if facts.says_background:
        return facts
    return replace(facts, background=draw_background(facts.things, random))

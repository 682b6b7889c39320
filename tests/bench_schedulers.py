"""How far few steps end from as many as fit: `python -m tests.bench_schedulers`.

For each scheduler, the distance of its final latents from those of its longest plan (999 of 1000
steps, 998 for DPM-Solver++): the root of the mean squared difference, for one seed. Notebook 05
quotes the table. Minutes on two cores, nearly all of them for the longest plans.
"""

import argparse

import torch

from sdhelpers import TINY_SD, denoise, load_components
from sdhelpers.components import Components
from sdhelpers.guidance import join_embeddings
from sdhelpers.noise import initial_latents, make_generators
from sdhelpers.schedule import SCHEDULERS, make_scheduler
from sdhelpers.text import encode_prompt

PROMPT = "a castle at sunset"
SEEDS = [0]
FEW_STEPS = [5, 10, 20, 50, 100]


def final_latents(
    components: Components, name: str, num_inference_steps: int, guidance_scale: float
) -> torch.Tensor:
    """Give the latents after the last step, one picture for each seed."""
    tokenizer, text_encoder, unet, vae, scheduler = components
    text_embeddings, uncond_embeddings = encode_prompt(
        tokenizer, text_encoder, [PROMPT] * len(SEEDS)
    )
    *_, last = denoise(
        unet,
        make_scheduler(name, {**scheduler.config, "set_alpha_to_one": True}),
        initial_latents(unet, vae, make_generators(SEEDS), batch_size=len(SEEDS)),
        join_embeddings(uncond_embeddings, text_embeddings),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
    )
    return last.prev_sample


def main() -> None:
    """Print one row for each scheduler."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guidance-scale", type=float, default=1.0)
    guidance_scale = parser.parse_args().guidance_scale
    components = load_components(TINY_SD)
    print(f"{'steps':<13}", *(f"{num_steps:>6}" for num_steps in FEW_STEPS))
    for name in SCHEDULERS:
        most = 998 if name == "DPM-Solver++" else 999
        reference = final_latents(components, name, most, guidance_scale)
        distances = [
            (final_latents(components, name, num_steps, guidance_scale) - reference)
            .square()
            .mean()
            .sqrt()
            .item()
            for num_steps in FEW_STEPS
        ]
        print(f"{name:<13}", *(f"{distance:6.3f}" for distance in distances), flush=True)


if __name__ == "__main__":
    main()

"""How far few steps end from as many as fit: `python -m tools.bench_schedulers`.

For each scheduler, the distance of its final latents from those of its longest plan (999 of 1000
steps, 998 for DPM-Solver++): the root of the mean squared difference. It prints the table and
paints notebooks/pictures/schedulers.png, which notebook 05 shows. Five minutes on two cores, nearly
all of them for the longest plans.
"""

import matplotlib.pyplot as plt
import torch

from sdhelpers import TINY_SD, denoise, load_components
from sdhelpers.guidance import join_embeddings
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import decode_latents, initial_latents, make_generator
from sdhelpers.model.parts import Components
from sdhelpers.schedule import SCHEDULERS, make_scheduler
from sdhelpers.show.pictures import show_images
from sdhelpers.text import encode_prompt
from tools.make_pictures import save

PROMPT = "a castle at sunset"
SEED = 0
GUIDANCE_SCALE = 4
FEW_STEPS = [5, 10, 20, 50, 100]


def final_latents(components: Components, name: str, num_inference_steps: int) -> torch.Tensor:
    """Give the latents after the last step; with all schedulers going down to no noise at all."""
    tokenizer, text_encoder, unet, vae, scheduler = components
    text_embeddings, uncond_embeddings = encode_prompt(tokenizer, text_encoder, PROMPT)
    *_, last = denoise(
        unet,
        make_scheduler(name, {**scheduler.config, "set_alpha_to_one": True}),
        initial_latents(unet, vae, make_generator(SEED)),
        join_embeddings(uncond_embeddings, text_embeddings),
        num_inference_steps=num_inference_steps,
        guidance_scale=GUIDANCE_SCALE,
    )
    return last.prev_sample


def main() -> None:
    """Print one row for each scheduler, and paint all of them."""
    plt.switch_backend("Agg")
    plt.show = lambda: None
    components = load_components(TINY_SD)
    pictures, titles = [], []
    print(f"{'steps':<13}", *(f"{num_steps:>6}" for num_steps in FEW_STEPS))
    for name in SCHEDULERS:
        most = 998 if name == "DPM-Solver++" else 999
        reference = final_latents(components, name, most)
        ends = [final_latents(components, name, num_steps) for num_steps in FEW_STEPS]
        distances = [(end - reference).square().mean().sqrt().item() for end in ends]
        print(f"{name:<13}", *(f"{distance:6.3f}" for distance in distances), flush=True)
        pictures += tensor_to_images(decode_latents(components.vae, torch.cat(ends)))
        titles += [
            f"{name}, {num_steps} steps: {distance:.3f}"
            for num_steps, distance in zip(FEW_STEPS, distances, strict=True)
        ]
    show_images(pictures, titles, num_columns=len(FEW_STEPS), inches=1.5)
    save("schedulers.png")


if __name__ == "__main__":
    main()

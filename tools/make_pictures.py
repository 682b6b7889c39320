"""Paint the pictures of the README and the model card: `make pictures`.

Prompts and seeds are fixed here and none is left out, so that failures are shown, too.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image

from sdhelpers import denoise, generate, load_components
from sdhelpers.guidance import join_embeddings
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import decode_latents, initial_latents, make_generator
from sdhelpers.model.parts import Components
from sdhelpers.schedule import make_scheduler
from sdhelpers.show.pictures import show_film_strip, show_images
from sdhelpers.steps import Step
from sdhelpers.text import encode_prompt
from sdhelpers.widgets.frames import make_frames, save_trajectory_gif
from tests.conftest import PROMPT
from tools.palette import reduce_colours

PICTURES = Path(__file__).parents[1] / "notebooks" / "pictures"
DOTS_PER_INCH = 110
SHOWN = [0, 2, 4, 6, 8, 11, 14, 19]  # of 20 steps
SAMPLES = [
    "an astronaut riding a horse in space",
    "a blue horse on the grass",
    "a panda wearing a crown at sunset",
    "an owl riding a bicycle on the beach",
    "a cat to the left of a red car",
    "a balloon above a whale in the sea",
    "three strawberries in the snow",
    "a castle at night",
    "a robot next to a sunflower",
    "a pixel art picture of a lion",
    "a pencil drawing of a rabbit",
    "a watercolour of a tulip",
]


def walk(components: Components) -> list[Step]:
    """Take the twenty steps from noise to the astronaut."""
    text_embeddings, uncond_embeddings = encode_prompt(
        components.tokenizer, components.text_encoder, PROMPT
    )
    return list(
        denoise(
            components.unet,
            make_scheduler("DPM-Solver++", components.scheduler.config),
            initial_latents(components.unet, components.vae, make_generator(0)),
            join_embeddings(uncond_embeddings, text_embeddings),
            num_inference_steps=20,
            guidance_scale=5,
        )
    )


def paint_trajectory(components: Components, steps: list[Step]) -> None:
    """Animate the whole run, as the trajectory explorer exports it."""
    save_trajectory_gif(PICTURES / "trajectory.gif", make_frames(steps, components.vae))


def paint_film_strip(components: Components, steps: list[Step]) -> None:
    """Draw the latents and the clean guess at eight of the steps."""
    rows = {
        "latents": [steps[index].latents for index in SHOWN],
        "clean guess": [steps[index].pred_original_sample for index in SHOWN],
    }
    pictures = {
        name: tensor_to_images(decode_latents(components.vae, torch.cat(latents)))
        for name, latents in rows.items()
    }
    show_film_strip(pictures, titles=[f"step {index + 1} of 20" for index in SHOWN])
    save("film_strip.png")


def paint_samples(components: Components) -> None:
    """Draw one picture for each of the twelve prompts; the seed is the prompt's place."""
    images = generate(
        components,
        SAMPLES,
        seed=range(len(SAMPLES)),
        scheduler="DPM-Solver++",
        num_inference_steps=20,
        guidance_scale=4,
    )
    show_images(images, titles=SAMPLES, num_columns=6)
    save("samples.png")


def save(name: str) -> None:
    """Store the current figure with 256 colours, and close it."""
    PICTURES.mkdir(exist_ok=True)
    plt.savefig(PICTURES / name, dpi=DOTS_PER_INCH)
    plt.close()
    reduce_colours(Image.open(PICTURES / name)).save(PICTURES / name, optimize=True)


def main() -> None:
    """Paint all of them."""
    plt.switch_backend("Agg")
    plt.show = lambda: None
    components = load_components(device="cpu")
    steps = walk(components)
    paint_trajectory(components, steps)
    paint_film_strip(components, steps)
    paint_samples(components)


if __name__ == "__main__":
    main()

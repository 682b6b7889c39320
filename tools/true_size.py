"""Stable Diffusion v1-4's true architecture with random weights: what its downloads would cost.

`python -m tools.true_size ours` or `pipeline` paints two steps at 512 x 512 on the CPU in float32,
prints the process's peak memory, and writes latents, which `tests/lessons/test_true_size.py`
compares.
`python -m tools.true_size price` times one UNet call, for notebook 09.
"""

import argparse
import os
import resource

import torch
from diffusers import PNDMScheduler
from transformers import CLIPTokenizer

from sdhelpers import TINY_SD, denoise, load_components
from sdhelpers.guidance import join_embeddings
from sdhelpers.latents import decode_latents, initial_latents, make_generator
from sdhelpers.lessons.architecture import SD_V1_CONFIGS, make_networks
from sdhelpers.lessons.cost import describe_price, measure_unet_call
from sdhelpers.model.parts import Components
from sdhelpers.text import encode_prompt
from tests.conftest import PROMPT, make_pipeline


def make_true_size(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Components:
    """Make the five parts; the tokenizer's vocabulary is CLIP's, here as there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text_encoder, unet, vae = make_networks(SD_V1_CONFIGS, device, dtype)
    return Components(
        tokenizer=CLIPTokenizer.from_pretrained(TINY_SD, subfolder="tokenizer"),
        text_encoder=text_encoder.requires_grad_(False),
        unet=unet.requires_grad_(False),
        vae=vae.requires_grad_(False),
        scheduler=PNDMScheduler.from_pretrained(SD_V1_CONFIGS, subfolder="scheduler"),
    )


def paint(components: Components, num_inference_steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Run our loop; give the last latents and the picture in [-1, 1]."""
    tokenizer, text_encoder, unet, vae, scheduler = components
    text_embeddings, uncond_embeddings = encode_prompt(tokenizer, text_encoder, PROMPT)
    both_embeddings = join_embeddings(uncond_embeddings, text_embeddings)
    latents = initial_latents(unet, vae, make_generator(0))
    options = {"num_inference_steps": num_inference_steps, "guidance_scale": 7.5}
    for step in denoise(unet, scheduler, latents, both_embeddings, **options):
        latents = step.prev_sample
    return latents, decode_latents(vae, latents)


def paint_with_pipeline(
    components: Components, num_inference_steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let the library do the same."""
    kept = {}

    def keep(pipeline: object, index: int, timestep: int, values: dict) -> dict:
        kept["latents"] = values["latents"]
        return values

    picture = make_pipeline(components)(
        PROMPT,
        num_inference_steps=num_inference_steps,
        guidance_scale=7.5,
        generator=make_generator(0),
        callback_on_step_end=keep,
        output_type="pt",
    ).images
    return kept["latents"], picture * 2 - 1


def print_price(components: Components, tiny: Components) -> None:
    """Print what one UNet call takes here, beside the tiny model's and the estimate of memory."""
    seconds = {
        "v1-4": measure_unet_call(components, num_calls=2),
        "tiny": measure_unet_call(tiny, num_calls=20),
    }
    print(f"{torch.get_num_threads()} threads: {seconds}")
    print(f"ratio {seconds['v1-4'] / seconds['tiny']:.0f}")
    print(describe_price(components, 20, seconds["v1-4"]))


def main() -> None:
    """Paint one way, or say the price."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=["ours", "pipeline", "price"])
    parser.add_argument("out", nargs="?", default=os.devnull, help="file for the latents")
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    if options.way == "price":
        components = make_true_size()
        print_price(components, load_components(device="cpu"))
        return
    way = paint if options.way == "ours" else paint_with_pipeline
    latents, picture = way(make_true_size(), options.steps)
    torch.save({"latents": latents, "picture": picture.float()}, options.out)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main()

"""Measure how well a UNet predicts noise, level by level, on scenes that training never saw.

The training loss is too noisy to compare two runs by. Here scenes, noise and timesteps are fixed.

Run: python -m training.noise_errors --models sdhelpers/tiny_sd runs/mine
"""

import argparse
from pathlib import Path

import torch

from sdhelpers import load_components
from sdhelpers.schedule import add_noise
from sdhelpers.text import encode_text
from training.engine.loop import make_step_generator
from training.judging.report import table
from training.stages.noise_prediction import noise_prediction_errors
from training.world.data import bytes_to_pixel_values, render_batches
from training.world.scenes import FIRST_EVALUATION_SEED

TIMESTEPS = (50, 200, 350, 500, 650, 800, 950)
# Apart from the seeds of `prompts.SEEDS`.
FIRST_SEED = FIRST_EVALUATION_SEED + 500_000_000
BATCH_SIZE = 32  # scenes


@torch.inference_mode()
def measure_noise_errors(folder: Path, num_scenes: int) -> dict[int, float]:
    """Measure the mean squared error of a model's noise prediction at each of `TIMESTEPS`.

    Args:
        folder: of the model. Each scene is encoded by the model's own VAE, so only models with
            equal latents can be compared.
        num_scenes: scenes; each gets the same noise at every timestep and for every model.

    Returns:
        dict of timestep -> error, no unit: 1 is what predicting no noise at all would give.

    Raises:
        ValueError: if a part is missing, or there is no scene.
    """
    if num_scenes < 1:
        raise ValueError(f"num_scenes is {num_scenes}; give at least 1")
    tokenizer, text_encoder, unet, vae, scheduler = load_components(folder, dtype=torch.float32)
    errors = {timestep: [] for timestep in TIMESTEPS}
    seeds = range(FIRST_SEED, FIRST_SEED + num_scenes)
    batches = render_batches(seeds, BATCH_SIZE, num_workers=0)
    for index, (pictures, captions, _) in enumerate(batches):
        latents = vae.encode(bytes_to_pixel_values(pictures).to(vae.device)).latent_dist.mean
        latents = latents * vae.config.scaling_factor
        text_embeddings = encode_text(tokenizer, text_encoder, captions)
        noise = torch.randn(latents.shape, generator=make_step_generator(0, index)).to(latents)
        for timestep in TIMESTEPS:
            noisy_latents = add_noise(latents, noise, scheduler.alphas_cumprod[timestep].item())
            noise_pred = unet(noisy_latents, timestep, text_embeddings).sample
            errors[timestep].append(noise_prediction_errors(noise_pred, noise))
    return {timestep: torch.cat(parts).mean().item() for timestep, parts in errors.items()}


def main() -> None:
    """Print a table, a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="model folders")
    parser.add_argument("--scenes", type=int, default=256)
    arguments = parser.parse_args()
    rows = [
        [str(folder), *(f"{error:.4f}" for error in errors.values())]
        for folder in arguments.models
        for errors in [measure_noise_errors(folder, arguments.scenes)]
    ]
    print(table(["timestep", *map(str, TIMESTEPS)], rows))


if __name__ == "__main__":
    main()

"""Measure how well a UNet predicts noise, level by level, on scenes that training never saw.

The training loss is too noisy to compare two runs by. Here scenes, noise and timesteps are fixed.

Run: python -m training.noise_errors --models sdhelpers/tiny_sd runs/mine
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from sdhelpers.model.device import pick_device
from sdhelpers.schedule import add_noise, betas_to_alphas_cumprod, make_betas
from sdhelpers.text import tokenize_prompt
from training.data import bytes_to_pixel_values, render_batches
from training.loop import make_step_generator
from training.noise import noise_prediction_errors
from training.report import table
from training.scenes import FIRST_EVALUATION_SEED
from training.settings import UnetSettings
from training.start import load_start
from training.vocabulary import load_tokenizer

TIMESTEPS = (50, 200, 350, 500, 650, 800, 950)
# Apart from the seeds of `evaluation_settings.SEEDS`.
FIRST_SEED = FIRST_EVALUATION_SEED + 500_000_000
BATCH_SIZE = 32  # scenes


@torch.inference_mode()
def measure_noise_errors(folder: Path, num_scenes: int) -> dict[int, float]:
    """Measure the mean squared error of a model's noise prediction at each of `TIMESTEPS`.

    Args:
        folder: of the model; its vae, text_encoder and unet are read. Each scene is encoded by the
            model's own VAE, so only models with equal latents can be compared.
        num_scenes: scenes; each gets the same noise at every timestep and for every model.

    Returns:
        dict of timestep -> error, no unit: 1 is what predicting no noise at all would give.

    Raises:
        ValueError: if a part is missing, or there is no scene.
    """
    if num_scenes < 1:
        raise ValueError(f"num_scenes is {num_scenes}; give at least 1")
    device = pick_device()
    vae = load_start(AutoencoderKL, folder, "vae", {}).to(device)
    text_encoder = load_start(CLIPTextModel, folder, "text_encoder", {}).to(device)
    unet = load_start(UNet2DConditionModel, folder, "unet", {}).to(device)
    tokenizer, settings = load_tokenizer(), UnetSettings()
    betas = make_betas(settings.num_train_timesteps, settings.beta_start, settings.beta_end)
    alphas_cumprod = betas_to_alphas_cumprod(betas)
    errors = {timestep: [] for timestep in TIMESTEPS}
    seeds = range(FIRST_SEED, FIRST_SEED + num_scenes)
    batches = render_batches(seeds, BATCH_SIZE, num_workers=0)
    for index, (pictures, captions, _) in enumerate(batches):
        latents = vae.encode(bytes_to_pixel_values(pictures).to(device)).latent_dist.mean
        latents = latents * vae.config.scaling_factor
        input_ids = tokenize_prompt(tokenizer, list(captions)).to(device)
        text_embeddings = text_encoder(input_ids)[0]
        noise = torch.randn(latents.shape, generator=make_step_generator(0, index)).to(device)
        for timestep in TIMESTEPS:
            timesteps = torch.full((len(latents),), timestep, device=device)
            noisy_latents = add_noise(latents, noise, alphas_cumprod[timestep].item())
            noise_pred = unet(noisy_latents, timesteps, text_embeddings).sample
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

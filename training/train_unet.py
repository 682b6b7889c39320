"""Stage 4: train the UNet to predict the noise in latents, given the text embeddings.

Run: python -m training.train_unet --minutes 180
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel

from sdhelpers.noise_schedule import add_noise, betas_to_alphas_cumprod, make_betas
from sdhelpers.text import tokenize_prompt
from training.cache_latents import load_latents, load_tokenizer
from training.loop import ComputeLoss, make_step_generator
from training.noise import (
    mean_per_bin,
    noise_prediction_errors,
    snr_weights,
)
from training.options import (
    RunOptions,
    make_accelerator,
    train_from_command_line,
)
from training.run import Run
from training.sample import make_pipeline, sample_images, save_grid
from training.start import load_start

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from accelerate import Accelerator

    from training.settings import UnetSettings

# Two of them were never in training; the others show what was learnt first.
SHOWN_PROMPTS = (
    "a photograph of an astronaut riding a horse",
    "a photo of a blue horse on the grass",
    "a cat on a red background",
    "a strawberry in the snow",
    "a dog to the left of a house",
    "a panda wearing a crown at sunset",
    "two yellow balloons in the sky",
    "pixel art of a dinosaur on the beach",
)


@dataclass(frozen=True)
class TrainingData:
    """What the UNet learns from, in memory.

    Attributes:
        mean, std: (N, 4, 16, 16) float16, of the unscaled latents.
        text_embeddings: (N, 77, D) float16.
        uncond_embeddings: (1, 77, D) float16, of the empty prompt.
        scaling_factor: float.
    """

    mean: torch.Tensor
    std: torch.Tensor
    text_embeddings: torch.Tensor
    uncond_embeddings: torch.Tensor
    scaling_factor: float


def make_unet(
    settings: UnetSettings, latent_shape: Sequence[int], cross_attention_dim: int
) -> UNet2DConditionModel:
    """Return a new UNet: text is read on the two finest levels, and in the middle."""
    levels = len(settings.block_out_channels)
    unet = UNet2DConditionModel(
        sample_size=latent_shape[-1],
        in_channels=latent_shape[0],
        out_channels=latent_shape[0],
        layers_per_block=settings.layers_per_block,
        block_out_channels=settings.block_out_channels,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=settings.attention_head_dim,
        norm_num_groups=settings.norm_num_groups,
        resnet_time_scale_shift="scale_shift",
    )
    # Plain attention: the fused kernel's backward pass is slow on a CPU.
    unet.set_attn_processor(AttnProcessor())
    return unet


def load_start_unet(folder: Path, like: UNet2DConditionModel) -> UNet2DConditionModel:
    """Return the UNet of a model.

    Args:
        folder: the model's.
        like: a new UNet, whose architecture it must have.

    Raises:
        ValueError: if it is built differently.
    """
    wanted = {name: value for name, value in like.config.items() if not name.startswith("_")}
    return load_start(UNet2DConditionModel, folder, "unet", wanted)


@torch.inference_mode()
def embed(
    text_encoder: CLIPTextModel,
    input_ids: torch.Tensor,
    accelerator: Accelerator,
    batch_size: int = 256,
) -> torch.Tensor:
    """Encode captions once and for all; the text encoder is frozen.

    Returns:
        (N, 77, D) float16 on the CPU.
    """
    with accelerator.autocast():
        parts = [
            text_encoder(ids.long().to(accelerator.device))[0].half().cpu()
            for ids in input_ids.split(batch_size)
        ]
    return torch.cat(parts)


def draw_noisy_batch(
    data: TrainingData,
    alphas_cumprod: torch.Tensor,
    settings: UnetSettings,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw what one step needs, on the CPU, from one source of chance.

    Returns:
        (noisy_latents, noise, timesteps, text_embeddings): (B, 4, 16, 16) twice, (B,) int64 and
        (B, 77, D), all float32 but the timesteps.
    """
    count = settings.batch_size
    chosen = torch.randint(len(data.mean), (count,), generator=generator)
    shape = (count, *data.mean.shape[1:])
    mean, std = data.mean[chosen].float(), data.std[chosen].float()
    latents = (mean + std * torch.randn(shape, generator=generator)) * data.scaling_factor
    text_embeddings = data.text_embeddings[chosen].float()
    is_empty = torch.rand(count, generator=generator) < settings.empty_prompt_share
    text_embeddings[is_empty] = data.uncond_embeddings.float()
    timesteps = torch.randint(len(alphas_cumprod), (count,), generator=generator)
    noise = torch.randn(shape, generator=generator)
    return add_noise(latents, noise, alphas_cumprod[timesteps]), noise, timesteps, text_embeddings


def make_compute_loss(
    data: TrainingData, settings: UnetSettings, accelerator: Accelerator
) -> ComputeLoss:
    """Return the loss function of the UNet's training steps.

    Args:
        data: `TrainingData`.
        settings: `UnetSettings`.
        accelerator: accelerate.Accelerator.
    """
    betas = make_betas(settings.num_train_timesteps, settings.beta_start, settings.beta_end)
    alphas_cumprod = betas_to_alphas_cumprod(betas)

    def compute_loss(
        model: torch.nn.Module, step: int, share: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        generator = make_step_generator(settings.seed, step, accelerator.process_index)
        noisy_latents, noise, timesteps, text_embeddings = (
            tensor.to(accelerator.device)
            for tensor in draw_noisy_batch(data, alphas_cumprod, settings, generator)
        )
        noisy_latents = noisy_latents.contiguous(memory_format=torch.channels_last)
        noise_pred = model(noisy_latents, timesteps, encoder_hidden_states=text_embeddings).sample
        errors = noise_prediction_errors(noise_pred.float(), noise)
        weights = snr_weights(
            alphas_cumprod.to(timesteps.device)[timesteps], settings.min_snr_gamma
        )
        bins = mean_per_bin(
            errors.detach(), timesteps, settings.num_train_timesteps, settings.num_loss_bins
        )
        return (weights * errors).mean(), bins

    return compute_loss


def train_unet(settings: UnetSettings, options: RunOptions) -> None:
    """Train the UNet into `options.folder / "unet"`."""
    accelerator = make_accelerator(options.precision)
    tokenizer = load_tokenizer()
    mean, std, input_ids, scaling_factor = load_latents(options.folder)
    text_encoder = CLIPTextModel.from_pretrained(
        options.folder / "text_encoder" / "model", dtype=torch.float32
    ).to(accelerator.device)
    data = TrainingData(
        mean,
        std,
        embed(text_encoder, input_ids, accelerator),
        embed(text_encoder, tokenize_prompt(tokenizer, ""), accelerator),
        scaling_factor,
    )
    vae = AutoencoderKL.from_pretrained(options.folder / "vae" / "model").to(accelerator.device)
    torch.manual_seed(settings.seed)
    unet = make_unet(settings, mean.shape[1:], text_encoder.config.hidden_size)
    if options.start is not None:
        unet.load_state_dict(load_start_unet(options.start, unet).state_dict())
    run = Run(accelerator, unet, settings, options, "unet")

    def show_samples(averaged: UNet2DConditionModel, path: Path) -> None:
        pipeline = make_pipeline(vae, text_encoder, tokenizer, averaged)
        save_grid(sample_images(pipeline, SHOWN_PROMPTS), path)

    averaged = run.train(make_compute_loss(data, settings, accelerator), show_samples)
    if accelerator.is_main_process:
        averaged.save_pretrained(run.folder / "model")


def main() -> None:
    """Train the UNet as the command line says."""
    train_from_command_line(__doc__, "unet", train_unet)


if __name__ == "__main__":
    main()

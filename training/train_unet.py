"""Stage 4: train the UNet to predict the noise in latents, given the text embeddings.

Run: python -m training.train_unet --minutes 180
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel

from sdhelpers.schedule import betas_to_alphas_cumprod, make_betas
from sdhelpers.text import tokenize_prompt
from training.cache_latents import load_latents
from training.joint import TextToNoise
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
from training.settings import TextEncoderSettings
from training.start import fit_vocabulary, load_start
from training.unet_data import TrainingData, draw_noisy_batch, embed
from training.vocabulary import load_tokenizer, used_token_ids

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
    if not torch.cuda.is_available():
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


def make_compute_loss(
    data: TrainingData, settings: UnetSettings, accelerator: Accelerator
) -> ComputeLoss:
    """Return the loss function of the UNet's training steps.

    Half of a timestep's weight is how often it is drawn, half how much it then counts: gradients
    of single scenes are about equally long so, and no noise level drowns the others.

    Args:
        data: `TrainingData`, on the accelerator's device.
        settings: `UnetSettings`.
        accelerator: accelerate.Accelerator.
    """
    betas = make_betas(settings.num_train_timesteps, settings.beta_start, settings.beta_end)
    device = accelerator.device
    alphas_cumprod = betas_to_alphas_cumprod(betas).to(device)
    weights = snr_weights(alphas_cumprod, settings.snr_exponent / 2, settings.snr_floor)

    def compute_loss(
        model: torch.nn.Module, step: int, share: float
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        generator = make_step_generator(settings.seed, step, accelerator.process_index, device)
        noisy_latents, noise, timesteps, conditions = draw_noisy_batch(
            data, alphas_cumprod, weights, settings, generator
        )
        noisy_latents = noisy_latents.contiguous(memory_format=torch.channels_last)
        noise_pred = model(noisy_latents, timesteps, conditions).sample
        errors = noise_prediction_errors(noise_pred.float(), noise)
        bins = mean_per_bin(
            errors.detach(), timesteps, settings.num_train_timesteps, settings.num_loss_bins
        )
        return (weights[timesteps] * errors).mean(), bins

    return compute_loss


def take_text_encoder(
    settings: UnetSettings, options: RunOptions, used_ids: torch.Tensor
) -> CLIPTextModel:
    """Return the text encoder that the UNet listens to.

    It is that of stage 3. If both learn together from an earlier model, it is that model's: its
    UNet understands no other.

    Args:
        settings: `UnetSettings`.
        options: `RunOptions`.
        used_ids: (K,) int64, the ids that occur in training.

    Raises:
        ValueError: if stage 3 has left none, or the earlier model has none.
    """
    if not settings.trains_text_encoder or options.start is None:
        folder = options.folder / "text_encoder" / "model"
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"no text encoder in {folder}; run python -m training.train_text_encoder first"
            )
        return CLIPTextModel.from_pretrained(folder, dtype=torch.float32)
    text_encoder = load_start(CLIPTextModel, options.start, "text_encoder", {})
    fit_vocabulary(text_encoder, used_ids, TextEncoderSettings.embedding_std)
    return text_encoder


def train_unet(settings: UnetSettings, options: RunOptions) -> None:
    """Train the UNet into `options.folder / "unet"`, and put its text encoder there, too."""
    accelerator = make_accelerator(options.precision)
    tokenizer = load_tokenizer()
    cache = load_latents(options.folder)
    empty_ids = tokenize_prompt(tokenizer, "")
    torch.manual_seed(settings.seed)
    used_ids = used_token_ids(cache.input_ids, tokenizer)
    text_encoder = take_text_encoder(settings, options, used_ids).to(accelerator.device)
    unet = make_unet(settings, cache.mean.shape[1:], text_encoder.config.hidden_size)
    if options.start is not None:
        unet.load_state_dict(load_start_unet(options.start, unet).state_dict())
    if settings.trains_text_encoder:
        model, conditions = TextToNoise(text_encoder, unet), (cache.input_ids, empty_ids.int())
    else:
        model = unet
        conditions = tuple(
            embed(text_encoder, ids, accelerator) for ids in (cache.input_ids, empty_ids)
        )
    vae = AutoencoderKL.from_pretrained(options.folder / "vae" / "model").to(accelerator.device)
    run = Run(accelerator, model, settings, options, "unet")

    def split(averaged: torch.nn.Module) -> tuple[CLIPTextModel, UNet2DConditionModel]:
        if settings.trains_text_encoder:
            return averaged.text_encoder, averaged.unet
        return text_encoder, averaged

    def show_samples(averaged: torch.nn.Module, path: Path) -> None:
        averaged_text_encoder, averaged_unet = split(averaged)
        pipeline = make_pipeline(vae, averaged_text_encoder, tokenizer, averaged_unet)
        save_grid(sample_images(pipeline, SHOWN_PROMPTS), path)

    data = TrainingData(cache.mean, cache.std, *conditions, cache.scaling_factor)
    data = data.to(accelerator.device)
    averaged = run.train(make_compute_loss(data, settings, accelerator), show_samples)
    if accelerator.is_main_process:
        averaged_text_encoder, averaged_unet = split(averaged)
        averaged_unet.save_pretrained(run.folder / "model")
        averaged_text_encoder.save_pretrained(run.folder / "text_encoder")


def main() -> None:
    """Train the UNet as the command line says."""
    train_from_command_line(__doc__, "unet", train_unet)


if __name__ == "__main__":
    main()

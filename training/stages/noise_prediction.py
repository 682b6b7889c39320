"""The UNet, alone or with the text encoder: what it learns from, and the loss of its predictions.

The forward process itself is `sdhelpers.noise_schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers import PNDMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from sdhelpers import TINY_SD
from sdhelpers.schedule import add_noise
from training.engine.loop import ComputeLoss, make_step_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accelerate import Accelerator
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
    from transformers import CLIPTextModel

    from training.engine.settings import UnetSettings


def load_scheduler() -> PNDMScheduler:
    """Load PNDM with the settings of Stable Diffusion v1-4: what ships with every model."""
    return PNDMScheduler.from_pretrained(TINY_SD, subfolder="scheduler")


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


class TextToNoise(nn.Module):
    """From noisy latents and a caption's ids to the noise.

    Args:
        text_encoder: CLIPTextModel.
        unet: UNet2DConditionModel, which reads the text encoder's embeddings.
    """

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        if not torch.cuda.is_available():
            # Plain attention, as in the UNet: the fused kernel's backward pass is slow on a CPU.
            text_encoder.set_attn_implementation("eager")
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(
        self, noisy_latents: torch.Tensor, timesteps: torch.Tensor, input_ids: torch.Tensor
    ) -> UNet2DConditionOutput:
        """Return the UNet's output; its `sample` is the noise prediction.

        Args:
            noisy_latents: (B, 4, H, W).
            timesteps: (B,) int64.
            input_ids: (B, 77) int64.
        """
        text_embeddings = self.text_encoder(input_ids).last_hidden_state
        return self.unet(noisy_latents, timesteps, encoder_hidden_states=text_embeddings)


@dataclass(frozen=True)
class TrainingData:
    """Latents and captions, in the memory of the device that trains.

    Attributes:
        mean, std: (N, 4, 16, 16) float16, of the unscaled latents.
        conditions: the captions. (N, 77, D) float16, the embeddings of a frozen text encoder; or
            (N, 77) int32, the ids, for one that learns along.
        empty_condition: (1, 77, D) or (1, 77), likewise, of the empty prompt.
        scaling_factor: float.
    """

    mean: torch.Tensor
    std: torch.Tensor
    conditions: torch.Tensor
    empty_condition: torch.Tensor
    scaling_factor: float

    def to(self, device: torch.device) -> TrainingData:
        """Return the same data on a device: 43 kB a scene with embeddings, 4.5 kB with ids."""
        tensors = (self.mean, self.std, self.conditions, self.empty_condition)
        return TrainingData(*(tensor.to(device) for tensor in tensors), self.scaling_factor)


@torch.inference_mode()
def embed(
    text_encoder: CLIPTextModel,
    input_ids: torch.Tensor,
    accelerator: Accelerator,
    batch_size: int = 256,
) -> torch.Tensor:
    """Encode captions once and for all, with a frozen text encoder.

    Returns:
        (N, 77, D) float16, on the accelerator's device.
    """
    with accelerator.autocast():
        parts = [
            text_encoder(ids.long().to(accelerator.device))[0].half()
            for ids in input_ids.split(batch_size)
        ]
    return torch.cat(parts)


def draw_noisy_batch(
    data: TrainingData,
    alphas_cumprod: torch.Tensor,
    frequencies: torch.Tensor,
    settings: UnetSettings,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw what one step needs, from one source of chance on the data's device.

    Args:
        data: what to draw from.
        alphas_cumprod: (T,), of the noise schedule, on the data's device.
        frequencies: (T,), likewise, how often each timestep is drawn.
        settings: `UnetSettings`.
        generator: the source of chance, likewise.

    Returns:
        (noisy_latents, noise, timesteps, conditions): (B, 4, 16, 16) float32 twice, (B,) int64,
        and (B, 77, D) float32 or (B, 77) int64.
    """
    count, device = settings.batch_size, data.mean.device
    shape = (count, *data.mean.shape[1:])
    chosen = torch.randint(len(data.mean), (count,), generator=generator, device=device)
    spread = torch.randn(shape, generator=generator, device=device)
    chances = torch.rand(count, generator=generator, device=device)
    timesteps = torch.multinomial(frequencies, count, replacement=True, generator=generator)
    noise = torch.randn(shape, generator=generator, device=device)
    latents = (data.mean[chosen] + data.std[chosen] * spread) * data.scaling_factor
    conditions = data.conditions[chosen]
    is_empty = (chances < settings.empty_prompt_share).view(-1, *[1] * (conditions.ndim - 1))
    conditions = torch.where(is_empty, data.empty_condition, conditions)
    conditions = conditions.float() if conditions.is_floating_point() else conditions.long()
    noisy_latents = add_noise(latents, noise, alphas_cumprod[timesteps])
    return noisy_latents, noise, timesteps, conditions


def snr_weights(alphas_cumprod: torch.Tensor, exponent: float, floor: float = 0.0) -> torch.Tensor:
    """Return the weight of every timestep, SNR^-exponent, scaled to a mean of 1.

    Nearly clean latents (high signal-to-noise ratio) have by far the largest errors, yet where
    things go and which way they face is decided in noise. An exponent of 0.5 evens this out: in
    our runs each fifth of the timesteps then gives about a fifth of the loss. 0 weighs all alike.

    Source of the aim, not of the formula: Karras et al. 2024, arXiv 2312.02696, which learns the
    weights that make all noise levels count alike.

    Args:
        alphas_cumprod: (T,), of the whole noise schedule.
        exponent: no unit.
        floor: the signal-to-noise ratio below which the weight grows no further, no unit.

    Returns:
        (T,).
    """
    snr = alphas_cumprod / (1 - alphas_cumprod)
    weights = snr.clamp(min=floor) ** -exponent
    return weights / weights.mean()


def noise_prediction_errors(noise_pred: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of each row, (B,)."""
    return (noise_pred - noise).square().mean((1, 2, 3))


def mean_per_bin(
    errors: torch.Tensor, timesteps: torch.Tensor, num_train_timesteps: int, num_bins: int
) -> dict[str, torch.Tensor]:
    """Average errors over bins of the noise level, without a word from the device.

    Returns:
        dict "t0" (least noise), "t1", ... -> scalar; not a number for a bin without a row.
    """
    bins = timesteps * num_bins // num_train_timesteps
    sums = errors.new_zeros(num_bins).index_add_(0, bins, errors)
    counts = errors.new_zeros(num_bins).index_add_(0, bins, torch.ones_like(errors))
    means = sums / counts
    return {f"t{index}": means[index] for index in range(num_bins)}


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
    device = accelerator.device
    alphas_cumprod = load_scheduler().alphas_cumprod.to(device)
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
        bins = mean_per_bin(errors.detach(), timesteps, len(alphas_cumprod), settings.num_loss_bins)
        return (weights[timesteps] * errors).mean(), bins

    return compute_loss

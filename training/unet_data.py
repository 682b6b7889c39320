"""What the UNet learns from: cached latents, and captions as embeddings or as ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdhelpers.schedule import add_noise
from training.noise import draw_timesteps

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import CLIPTextModel

    from training.settings import UnetSettings


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
        frequencies: (T,), likewise, how often each timestep is drawn; see `draw_timesteps`.
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
    timesteps = draw_timesteps(frequencies, count, generator)
    noise = torch.randn(shape, generator=generator, device=device)
    latents = (data.mean[chosen] + data.std[chosen] * spread) * data.scaling_factor
    conditions = data.conditions[chosen]
    is_empty = (chances < settings.empty_prompt_share).view(-1, *[1] * (conditions.ndim - 1))
    conditions = torch.where(is_empty, data.empty_condition, conditions)
    conditions = conditions.float() if conditions.is_floating_point() else conditions.long()
    noisy_latents = add_noise(latents, noise, alphas_cumprod[timesteps])
    return noisy_latents, noise, timesteps, conditions

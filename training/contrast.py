"""What teaches the text encoder: an image tower, and the loss by which captions find pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import CLIPTextModel

    from training.settings import TextEncoderSettings


class ImageTower(nn.Module):
    """A small convolutional network from latents to one vector.

    Args:
        settings: `TextEncoderSettings`.
        latent_channels: channels of the latents, 4 in SD.
    """

    def __init__(self, settings: TextEncoderSettings, latent_channels: int) -> None:
        super().__init__()
        layers, width = [], latent_channels
        for level, next_width in enumerate(settings.tower_channels):
            stride = 1 if level == 0 else 2
            layers += [
                nn.Conv2d(width, next_width, 3, stride, padding=1),
                nn.GroupNorm(8, next_width),
                nn.SiLU(),
                nn.Conv2d(next_width, next_width, 3, padding=1),
                nn.GroupNorm(8, next_width),
                nn.SiLU(),
            ]
            width = next_width
        self.layers = nn.Sequential(*layers)
        # The 4 x 4 map is flattened, not averaged: left and right, above and below matter.
        self.projection = nn.Linear(width * 16, settings.projection_dim)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Return (B, projection_dim) for latents (B, 4, 16, 16)."""
        return self.projection(self.layers(latents).flatten(1))


class ContrastiveModel(nn.Module):
    """The text encoder and the image tower with their shared space.

    Args:
        settings: `TextEncoderSettings`.
        text_encoder: CLIPTextModel.
        latent_channels: channels of the latents.
    """

    def __init__(
        self, settings: TextEncoderSettings, text_encoder: CLIPTextModel, latent_channels: int
    ) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.text_projection = nn.Linear(settings.hidden_size, settings.projection_dim, bias=False)
        self.image_tower = ImageTower(settings, latent_channels)
        self.log_scale = nn.Parameter(torch.tensor(math.log(settings.initial_logit_scale)))
        self.max_log_scale = math.log(settings.max_logit_scale)

    def forward(
        self, input_ids: torch.Tensor, latents: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return where captions and pictures lie in the shared space, and its scale.

        Args:
            input_ids: (C, L) int64; L may be less than 77 if every caption still ends in it.
            latents: (B, 4, 16, 16), scaled.

        Returns:
            (text, image, scale): (C, projection_dim) and (B, projection_dim) of length 1, and a
            scalar.
        """
        text = self.text_projection(self.text_encoder(input_ids).pooler_output)
        image = self.image_tower(latents)
        scale = self.log_scale.clamp(max=self.max_log_scale).exp()
        return functional.normalize(text, dim=-1), functional.normalize(image, dim=-1), scale


def gather_with_gradient(features: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """Join the features of all processes, so that each contrasts with all pairs.

    Every process computes the same loss of all features, and sends it back through its own ones
    only; the average over processes that follows would divide that by their number, so it is
    multiplied by it here. One process alone gets its features back.

    Args:
        features: (B, D), this process's.
        accelerator: accelerate.Accelerator.

    Returns:
        (P * B, D) for P processes.
    """
    num_processes = accelerator.num_processes
    if num_processes == 1:
        return features
    parts = list(accelerator.gather(features.detach()).split(len(features)))
    own = num_processes * features - (num_processes - 1) * features.detach()
    parts[accelerator.process_index] = own
    return torch.cat(parts)


def contrastive_loss(
    logits: torch.Tensor, contrary_logits: torch.Tensor | None = None
) -> torch.Tensor:
    """Return CLIP's loss: the mean of two cross-entropies, captions to pictures and back.

    On the way back a picture may also fall for a contrary caption, one that names the same things
    in the wrong order. No other caption of a batch tells "a cat above a dog" from "a dog above a
    cat", so without them a text encoder has no reason to tell who is where.

    Source: Radford et al. 2021, arXiv 2103.00020; the contrary captions are Yuksekgonul et al.'s
    2022, arXiv 2210.01936.

    Args:
        logits: (B, B), captions by pictures; the diagonal holds the true pairs.
        contrary_logits: (C, B), contrary captions by pictures; -inf in the row of one that is none.
    """
    targets = torch.arange(len(logits), device=logits.device)
    candidates = logits if contrary_logits is None else torch.cat([logits, contrary_logits])
    return (
        functional.cross_entropy(logits, targets) + functional.cross_entropy(candidates.T, targets)
    ) / 2

"""The text encoder and the UNet as one network, to train both together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
    from transformers import CLIPTextModel


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

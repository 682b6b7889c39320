"""Preview latents without the VAE: a straight line from four channels to three colours."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdhelpers.latents import encode_image, make_generator, vae_scale_factor
from sdhelpers.validation import check_latents

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


_RIDGE = 0.1  # in units of the latents' standard deviation, which is about 1


@dataclass(frozen=True, eq=False)
class LinearPreview:
    """Straight-line recipe from latent channels to colours, made by `fit_linear_preview`.

    Attributes:
        weight: (4, 3). How much of red, green and blue one unit of each channel adds.
        bias: (3,). The colour of latents that are zero everywhere.
    """

    weight: torch.Tensor
    bias: torch.Tensor


def latents_to_rgb(latents: torch.Tensor, preview: LinearPreview) -> torch.Tensor:
    """Guess the decoded picture, one pixel for each latent cell, without calling the VAE.

    Args:
        latents: (B, 4, h, w), scaled.
        preview: of the VAE that the latents belong to.

    Returns:
        pixel_values: (B, 3, h, w) float32 in [-1, 1], a small, blurry version of
        what `decode_latents` would paint.

    Raises:
        ValueError: if the number of channels is not that of the preview.
    """
    check_latents(latents, len(preview.weight))
    channels_last = latents.permute(0, 2, 3, 1).to(preview.weight)
    return (channels_last @ preview.weight + preview.bias).clamp(-1, 1).permute(0, 3, 1, 2)


def fit_linear_preview(vae: "AutoencoderKL", *, num_images: int = 24) -> LinearPreview:
    """Fit the linear preview to a VAE by least squares.

    The VAE encodes smooth random colour fields; the fit predicts each field's mean colour in a
    latent cell from the channels of that cell.

    Args:
        vae: the autoencoder; only its encoder is used.
        num_images: number of random fields, each 16 x 16 latent cells.

    Returns:
        The preview, float32, on the VAE's device. The same each time: the fields are seeded.
    """
    cells = 16
    factor = vae_scale_factor(vae)
    noise = torch.rand((num_images, 3, 5, 5), generator=make_generator(0))
    fields = torch.nn.functional.interpolate(noise, size=(cells * factor,) * 2, mode="bicubic")
    pixel_values = (fields * 3 - 1.5).clamp(-1, 1)
    latents = encode_image(vae, pixel_values).float()
    colours = torch.nn.functional.avg_pool2d(pixel_values, factor).to(latents)
    return _fit_line(
        latents.permute(0, 2, 3, 1).flatten(0, 2), colours.permute(0, 2, 3, 1).flatten(0, 2)
    )


def _fit_line(inputs: torch.Tensor, targets: torch.Tensor) -> LinearPreview:
    """Fit targets (N, 3) to inputs (N, 4) by least squares with a small ridge.

    A channel that hardly varies says little about colour, but noise in it would be multiplied
    by whatever weight it got. The ridge adds rows that ask for small weights; the bias is free.
    """
    num_rows, num_channels = inputs.shape
    ones = torch.ones_like(inputs[:, :1])
    ridge = _RIDGE * num_rows**0.5 * torch.eye(num_channels, num_channels + 1).to(inputs)
    rows = torch.cat([torch.cat([inputs, ones], dim=1), ridge])
    fitted = torch.linalg.lstsq(
        rows, torch.cat([targets, torch.zeros_like(targets[:num_channels])])
    ).solution
    return LinearPreview(weight=fitted[:-1], bias=fitted[-1])

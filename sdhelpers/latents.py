"""Encode, decode and preview latents.

Everything called `latents` here is *scaled*: about unit variance, what the UNet eats. The VAE's
own, unscaled latents exist only inside `encode_image` and `decode_latents`. The noise that a run
starts from is drawn in `noise`; its functions can be imported from here, too.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdhelpers.device import execution_device
from sdhelpers.noise import initial_latents as initial_latents
from sdhelpers.noise import make_generator as make_generator
from sdhelpers.noise import vae_scale_factor as vae_scale_factor
from sdhelpers.validation import check_latents

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_RIDGE = 0.1  # in units of the latents' standard deviation, which is about 1


@torch.no_grad()
def encode_image(
    vae: "AutoencoderKL", pixel_values: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Compress pictures into scaled latents.

    Args:
        vae: the autoencoder.
        pixel_values: (B, 3, H, W), [-1, 1], H and W multiples of the VAE's factor, as
            `image_to_tensor` makes them.
        generator: CPU generator: draw from the latent distribution. None: take its mean.

    Returns:
        (B, 4, h, w), about unit variance, on the VAE's device.

    Raises:
        ValueError: if shape or dtype do not fit.
    """
    _check_pixel_values(pixel_values, vae)
    latent_dist = vae.encode(
        pixel_values.to(device=execution_device(vae), dtype=vae.dtype)
    ).latent_dist
    unscaled_latents = latent_dist.mode() if generator is None else latent_dist.sample(generator)
    return unscaled_latents * vae.config.scaling_factor


@torch.no_grad()
def decode_latents(vae: "AutoencoderKL", latents: torch.Tensor) -> torch.Tensor:
    """Turn scaled latents into pixel values.

    Args:
        vae: the autoencoder.
        latents: (B, 4, h, w), scaled. Left unchanged; a copy is moved to the VAE where needed.

    Returns:
        pixel_values: (B, 3, 8h, 8w), about [-1, 1], for `tensor_to_images`.

    Raises:
        ValueError: if the shape does not fit.
    """
    check_latents(latents, vae.config.latent_channels)
    latents = latents.to(device=execution_device(vae), dtype=vae.dtype)
    return vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]


def _check_pixel_values(pixel_values: torch.Tensor, vae: "AutoencoderKL") -> None:
    """Raise a ValueError unless the VAE can encode this."""
    factor, channels = vae_scale_factor(vae), vae.config.in_channels
    is_tensor = isinstance(pixel_values, torch.Tensor) and pixel_values.is_floating_point()
    shape = tuple(pixel_values.shape) if is_tensor else ()
    has_channels = len(shape) == 4 and shape[1] == channels and 0 not in shape
    if has_channels and not any(side % factor for side in shape[2:]):
        return
    given = shape or getattr(pixel_values, "dtype", type(pixel_values).__name__)
    raise ValueError(
        f"pixel_values must be a floating-point tensor of shape (B, {channels}, H, W), H and W "
        f"multiples of {factor}, in [-1, 1]; got {given}. image_to_tensor makes it from a "
        "picture, after resizing or cropping that."
    )


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
    latents = encode_image(vae, pixel_values).float().cpu()  # not every GPU has least squares
    colours = torch.nn.functional.avg_pool2d(pixel_values, factor)
    device = execution_device(vae)
    fitted = _fit_line(
        latents.permute(0, 2, 3, 1).flatten(0, 2), colours.permute(0, 2, 3, 1).flatten(0, 2)
    )
    return LinearPreview(fitted.weight.to(device), fitted.bias.to(device))


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

"""Latents: drawn as noise, encoded from pictures, decoded into pictures, previewed.

Everything called `latents` here is *scaled*: about unit variance, what the UNet eats. The VAE's
own, unscaled latents exist only inside `encode_image` and `decode_latents`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdhelpers.model.device import execution_device
from sdhelpers.validation import check_latents, check_noise, is_count

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

Generators = torch.Generator | Sequence[torch.Generator]
_RIDGE = 0.1  # in units of the latents' standard deviation, which is about 1


def make_generator(seed: int) -> torch.Generator:
    """Make a fresh source of randomness on the CPU; the global one stays untouched.

    Args:
        seed: integer in [0, 2**63). The same seed gives the same numbers on every device,
            because noise is drawn on the CPU and then moved.

    Returns:
        A torch.Generator in its starting state. Drawing from it changes it: make a new one for
        each comparison.

    Raises:
        ValueError: if the seed is not such an integer.
    """
    if not is_count(seed, minimum=0) or seed >= 2**63:
        raise ValueError(f"seed must be an integer from 0 to 2**63 - 1, got {seed!r}.")
    return torch.Generator().manual_seed(int(seed))


def make_generators(seed: int | Sequence[int]) -> Generators:
    """Make one generator for a whole batch, or one for each picture if there are many seeds.

    Raises:
        ValueError: as `make_generator`.
    """
    if isinstance(seed, Sequence) and not isinstance(seed, str):
        return [make_generator(one) for one in seed]
    return make_generator(seed)


def check_generators(generator: object, batch_size: int) -> None:
    """Raise a ValueError unless this is one generator on the CPU, or one for each picture."""
    generators = [generator] if isinstance(generator, torch.Generator) else generator
    are_fine = isinstance(generators, Sequence) and all(
        isinstance(one, torch.Generator) and one.device.type == "cpu" for one in generators
    )
    if not are_fine:
        raise ValueError(
            f"generator must be a torch.Generator on the CPU or a list of them, got "
            f"{generator!r}. make_generator(seed) makes one."
        )
    if generators is generator and len(generators) != batch_size:
        raise ValueError(
            f"{len(generators)} generators or seeds were given for {batch_size} pictures: "
            "give one for all of them, or one for each."
        )


def vae_scale_factor(vae: "AutoencoderKL") -> int:
    """Give the number of pixels along one side of one latent cell, 8 for Stable Diffusion 1."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def picture_size(
    unet: "UNet2DConditionModel",
    vae: "AutoencoderKL",
    height: int | None = None,
    width: int | None = None,
) -> tuple[int, int]:
    """Fill in the size that the model was trained for, and check a given one.

    Args:
        unet: gives the trained size, in latent cells.
        vae: gives the pixels per cell.
        height: in pixels, a positive multiple of the VAE's factor; None: the trained height.
        width: likewise.

    Returns:
        height, width in pixels.

    Raises:
        ValueError: if a side is not a positive multiple of the factor.
    """
    factor = vae_scale_factor(vae)
    trained = unet.config.sample_size
    trained_height, trained_width = (trained, trained) if isinstance(trained, int) else trained
    height = trained_height * factor if height is None else height
    width = trained_width * factor if width is None else width
    for name, side in (("height", height), ("width", width)):
        if not is_count(side) or side % factor:
            raise ValueError(
                f"{name} must be a positive multiple of {factor} pixels, the VAE's factor, "
                f"got {side!r}. {_nearest_side(side, factor)}"
            )
    return height, width


def _nearest_side(side: object, factor: int) -> str:
    """Say which allowed side is nearest to a given one."""
    if not is_count(side):
        return f"Give an integer, for example {16 * factor}."
    return f"The nearest that works is {max(factor, round(side / factor) * factor)}."


def initial_latents(
    unet: "UNet2DConditionModel",
    vae: "AutoencoderKL",
    generator: Generators,
    *,
    batch_size: int = 1,
    height: int | None = None,
    width: int | None = None,
) -> torch.Tensor:
    """Draw the noise that a picture starts from.

    Args:
        unet: gives the number of channels, the device and the dtype of the result.
        vae: gives the pixels per latent cell.
        generator: CPU generator for the whole batch, or a sequence with one for each picture.
            Drawing changes its state.
        batch_size: B, number of pictures.
        height: in pixels; None: the size that the model was trained for.
        width: likewise.

    Returns:
        (B, 4, h, w) in the UNet's dtype, unit variance, *not* yet multiplied by the scheduler's
        `init_noise_sigma` (`denoise` does that).

    Raises:
        ValueError: if a size is not divisible, B is not positive, or the generators are not one
            or B generators on the CPU.
    """
    if not is_count(batch_size):
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}.")
    check_generators(generator, batch_size)
    height, width = picture_size(unet, vae, height, width)
    factor = vae_scale_factor(vae)
    shape = (unet.config.in_channels, height // factor, width // factor)
    if isinstance(generator, torch.Generator):
        noise = torch.randn((batch_size, *shape), generator=generator)
    else:
        noise = torch.stack([torch.randn(shape, generator=one) for one in generator])
    return noise.to(device=execution_device(unet), dtype=unet.dtype)


def match_latents(
    unet: "UNet2DConditionModel",
    vae: "AutoencoderKL",
    latents: torch.Tensor,
    *,
    batch_size: int,
    height: int | None = None,
    width: int | None = None,
) -> torch.Tensor:
    """Check that latents somebody gave are noise for these pictures, and move them to the UNet.

    Args:
        unet: gives channels, device and dtype.
        vae: gives the pixels per latent cell.
        latents: (batch_size, 4, h, w) unit-variance noise.
        batch_size: B, number of pictures.
        height: in pixels; None: that of the latents.
        width: likewise.

    Returns:
        (B, 4, h, w) on the UNet's device, in its dtype.

    Raises:
        ValueError: if the latents do not have the shape of the pictures, or are not finite.
    """
    check_latents(latents, unet.config.in_channels)
    factor = vae_scale_factor(vae)
    height = latents.shape[2] * factor if height is None else height
    width = latents.shape[3] * factor if width is None else width
    height, width = picture_size(unet, vae, height, width)
    expected = (batch_size, unet.config.in_channels, height // factor, width // factor)
    if tuple(latents.shape) != expected:
        raise ValueError(
            f"latents must have shape {expected} for {batch_size} picture(s) of {width} x "
            f"{height} pixels, got {tuple(latents.shape)}."
        )
    latents = latents.to(device=execution_device(unet), dtype=unet.dtype)
    check_noise(latents, unet)
    return latents


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

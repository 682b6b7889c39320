"""The autoencoder as a network in training: with its noise and, if wanted, a discriminator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.func import functional_call

from training.data import bytes_to_pixel_values
from training.paint import IMAGE_SIZE

if TYPE_CHECKING:
    from training.settings import VaeSettings


def make_vae(settings: VaeSettings) -> AutoencoderKL:
    """Return a new autoencoder, whose latents begin with little noise."""
    levels = len(settings.block_out_channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.block_out_channels,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_num_groups,
        sample_size=IMAGE_SIZE,
    )
    # The last layer before the latents gives the means, then the log variances.
    with torch.no_grad():
        vae.quant_conv.bias[settings.latent_channels :] += settings.initial_log_variance
    return vae


class Autoencoder(nn.Module):
    """The VAE as one forward pass: encode, draw, decode.

    Args:
        vae: AutoencoderKL.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(
        self, pixel_values: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (reconstruction, mean, log variance).

        Args:
            pixel_values: (B, 3, H, W) in [-1, 1].
            noise: (B, 4, H/8, W/8), standard normal; zeros decode the mean.
        """
        posterior = self.vae.encode(pixel_values).latent_dist
        unscaled_latents = posterior.mean + posterior.std * noise
        return self.vae.decode(unscaled_latents).sample, posterior.mean, posterior.logvar


def make_discriminator(width: int) -> nn.Sequential:
    """Return a network that tells true patches of a picture from decoded ones.

    Each verdict looks at 38 x 38 pixels: at edges and textures, not at what the picture shows.
    Source: Isola et al. 2017, arXiv 1611.07004, there called PatchGAN.

    Args:
        width: channels of the first layer; each of the next two has twice as many.

    Returns:
        nn.Sequential from (B, 3, H, W) to (B, 1, H/8, W/8): above 0 for true, below for decoded.
    """
    layers, channels = [], 3
    for level in range(3):
        layers += [nn.Conv2d(channels, width << level, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = width << level
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))


class JudgedAutoencoder(Autoencoder):
    """The autoencoder together with a discriminator, so that one optimiser trains both.

    Args:
        vae: AutoencoderKL.
        discriminator: as of `make_discriminator`.
    """

    def __init__(self, vae: AutoencoderKL, discriminator: nn.Module) -> None:
        super().__init__(vae)
        self.discriminator = discriminator

    def forward(self, pixel_values: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (reconstruction, mean, log variance, and three verdicts on patches).

        The verdicts, (B, 1, H/8, W/8) each: on true pictures; on decoded ones, with a gradient to
        the discriminator only; and on decoded ones, with a gradient to the autoencoder only.
        """
        reconstruction, mean, logvar = super().forward(pixel_values, noise)
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        return (
            reconstruction,
            mean,
            logvar,
            self.discriminator(pixel_values),
            self.discriminator(reconstruction.detach()),
            functional_call(self.discriminator, frozen, (reconstruction,)),
        )


@torch.inference_mode()
def encode_decode(
    vae: AutoencoderKL, pictures: torch.Tensor, batch_size: int = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode pictures and decode the means.

    Args:
        vae: AutoencoderKL.
        pictures: (N, 3, 128, 128) uint8.
        batch_size: pictures at a time.

    Returns:
        (unscaled_latents, reconstructions), the latter clamped to [-1, 1]; both on the CPU.
    """
    latents, reconstructions = [], []
    for batch in pictures.split(batch_size):
        mean = vae.encode(bytes_to_pixel_values(batch).to(vae.device)).latent_dist.mean
        latents.append(mean.cpu())
        reconstructions.append(vae.decode(mean).sample.clamp(-1, 1).cpu())
    return torch.cat(latents), torch.cat(reconstructions)

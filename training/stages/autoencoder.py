"""The autoencoder: its network, the crops that it learns from, and its loss.

The loss looks at pixels, at edges, at the spread of the latents and, if wanted, at the verdicts of
a discriminator that learns along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from training.engine.loop import ComputeLoss, make_step_generator
from training.world.data import bytes_to_pixel_values
from training.world.paint import IMAGE_SIZE

if TYPE_CHECKING:
    from typing import Any

    from accelerate import Accelerator

    from training.engine.settings import VaeSettings


def vae_architecture(settings: VaeSettings) -> dict[str, Any]:
    """Return the entries of an autoencoder's config that the settings decide."""
    names = ("block_out_channels", "latent_channels", "norm_num_groups")
    return {name: getattr(settings, name) for name in names}


def make_vae(settings: VaeSettings) -> AutoencoderKL:
    """Return a new autoencoder, whose latents begin with little noise."""
    levels = len(settings.block_out_channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        sample_size=IMAGE_SIZE,
        **vae_architecture(settings),
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


def vae_losses(
    reconstruction: torch.Tensor,
    pixel_values: torch.Tensor,
    mean: torch.Tensor,
    logvar: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """Return the parts of the VAE's loss.

    Returns:
        "l1" and "squared": mean absolute and mean squared error of the pixels. "gradient": mean
        absolute error of the differences between neighbours, both directions added. "kl": mean KL
        divergence of one latent from a standard normal, 0.5 * (mean^2 + variance - 1 - log
        variance), in nats.
    """
    error = reconstruction - pixel_values
    gradient = error.diff(dim=-2).abs().mean() + error.diff(dim=-1).abs().mean()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return {
        "l1": error.abs().mean(),
        "squared": error.square().mean(),
        "gradient": gradient,
        "kl": kl,
    }


def adversarial_losses(
    on_true: torch.Tensor, on_decoded: torch.Tensor, on_decoded_frozen: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the two sides of the contest between discriminator and autoencoder.

    Args:
        on_true: verdicts on patches of true pictures, any shape.
        on_decoded: on decoded ones, with a gradient to the discriminator.
        on_decoded_frozen: the same values, with a gradient to the autoencoder.

    Returns:
        "discriminator": hinge loss, 0 where every verdict is right by a margin of 1, and 1 where
        all are 0. "adversarial": minus the mean verdict on decoded patches.
        Source: Lim and Ye 2017, Geometric GAN, arXiv 1705.02894.
    """
    hinges = functional.relu(1 - on_true).mean() + functional.relu(1 + on_decoded).mean()
    return {"discriminator": 0.5 * hinges, "adversarial": -on_decoded_frozen.mean()}


def draw_pixel_values(
    pictures: torch.Tensor, settings: VaeSettings, share: float, generator: torch.Generator
) -> torch.Tensor:
    """Draw the crops of one step, or whole pictures near the end of the run.

    Args:
        pictures: (N, 3, 128, 128) uint8.
        settings: `VaeSettings`.
        share: share of the run that is over.
        generator: torch.Generator, on the pictures' device.

    Returns:
        (B, 3, H, W) float32 in [-1, 1]. Whole pictures are fewer, so that a step costs the same.
    """
    is_whole = share >= 1 - settings.whole_share
    size, device = IMAGE_SIZE if is_whole else settings.crop_size, pictures.device
    count = max(1, settings.batch_size * settings.crop_size**2 // size**2)
    chosen = torch.randint(len(pictures), (count, 1, 1), generator=generator, device=device)
    corners = torch.randint(
        IMAGE_SIZE - size + 1, (2, count, 1, 1), generator=generator, device=device
    )
    window = torch.arange(size, device=device)
    rows, columns = corners[0] + window[:, None], corners[1] + window
    crops = pictures[chosen, :, rows, columns]  # (B, H, W, 3)
    return bytes_to_pixel_values(crops.permute(0, 3, 1, 2))


def make_compute_loss(
    pictures: torch.Tensor, settings: VaeSettings, accelerator: Accelerator
) -> ComputeLoss:
    """Return the loss function of the VAE's training steps.

    Args:
        pictures: (N, 3, 128, 128) uint8, on the accelerator's device.
        settings: `VaeSettings`.
        accelerator: accelerate.Accelerator.
    """
    device = accelerator.device

    def compute_loss(
        model: nn.Module, step: int, share: float
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        generator = make_step_generator(settings.seed, step, accelerator.process_index, device)
        pixel_values = draw_pixel_values(pictures, settings, share, generator)
        latent_size = pixel_values.shape[-1] // 8
        shape = (len(pixel_values), settings.latent_channels, latent_size, latent_size)
        noise = torch.randn(shape, generator=generator, device=device)
        reconstruction, mean, logvar, *verdicts = model(pixel_values, noise)
        losses = vae_losses(reconstruction.float(), pixel_values, mean, logvar)
        loss = (
            losses["l1"]
            + settings.squared_weight * losses["squared"]
            + settings.gradient_weight * losses["gradient"]
            + settings.kl_weight * losses["kl"]
        )
        if verdicts:
            losses |= adversarial_losses(*(verdict.float() for verdict in verdicts))
            is_heard = share >= 1 - settings.adversarial_share
            weight = settings.adversarial_weight * is_heard
            loss = loss + losses["discriminator"] + weight * losses["adversarial"]
        return loss, {name: value.detach() for name, value in losses.items()}

    return compute_loss

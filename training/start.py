"""Start a stage from the weights of an earlier model instead of from random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL

from training.data import bytes_to_pixel_values

if TYPE_CHECKING:
    from pathlib import Path

    from training.settings import VaeSettings

# Standard deviation of a channel's means, as a share of the liveliest channel's, below which the
# channel carries nothing: the first model's dead one has 0.02, its others 0.6 and more.
SILENT_SHARE = 0.1


def load_vae(folder: Path, settings: VaeSettings) -> AutoencoderKL:
    """Load the autoencoder of a model folder, in float32.

    Args:
        folder: a model in the standard folders, or the folder of its VAE.
        settings: `VaeSettings`, whose architecture must be that of the loaded one.

    Raises:
        ValueError: if the folder holds no VAE, or one of another architecture.
    """
    path = folder / "vae" if (folder / "vae").is_dir() else folder
    if not (path / "config.json").is_file():
        raise ValueError(f"no VAE in {folder}: give a model folder, for example sdhelpers/tiny_sd")
    vae = AutoencoderKL.from_pretrained(path, dtype=torch.float32, use_safetensors=True)
    names = ("block_out_channels", "latent_channels", "norm_num_groups")
    differing = [
        f"{name}={getattr(vae.config, name)}".replace(" ", "").replace("[", "(").replace("]", ")")
        for name in names
        if tuple(_as_tuple(getattr(vae.config, name))) != _as_tuple(getattr(settings, name))
    ]
    if differing:
        raise ValueError(
            f"the VAE in {folder} is built differently; start from it with "
            f"--set {' '.join(differing)}"
        )
    return vae


def _as_tuple(value: int | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


@torch.no_grad()
def wake_silent_channels(vae: AutoencoderKL, pictures: torch.Tensor) -> list[int]:
    """Draw new weights for latent channels whose means say nothing, in place.

    A channel that a strong KL term has silenced is a saddle point: its decoder ignores it, so no
    gradient asks its encoder to speak. Random weights on both sides of it end that.

    Args:
        vae: AutoencoderKL.
        pictures: (N, 3, 128, 128) uint8, to see which channels are silent.

    Returns:
        The numbers of the channels.
    """
    means = torch.cat(
        [vae.encode(bytes_to_pixel_values(batch)).latent_dist.mean for batch in pictures.split(16)]
    )
    stds = means.std((0, 2, 3))
    silent = (stds < SILENT_SHARE * stds.max()).nonzero().flatten().tolist()
    fresh_before = torch.nn.Conv2d(
        vae.quant_conv.in_channels, vae.quant_conv.out_channels, kernel_size=1
    )
    fresh_after = torch.nn.Conv2d(
        vae.post_quant_conv.in_channels, vae.post_quant_conv.out_channels, kernel_size=1
    )
    for channel in silent:
        vae.quant_conv.weight[channel] = fresh_before.weight[channel]
        vae.quant_conv.bias[channel] = 0
        vae.post_quant_conv.weight[:, channel] = fresh_after.weight[:, channel]
    return silent


@torch.no_grad()
def lower_noise(vae: AutoencoderKL, log_variance: float) -> None:
    """Let every latent begin with the same small noise, in place.

    Args:
        vae: AutoencoderKL.
        log_variance: no unit; exp(log_variance / 2) is the noise's standard deviation.
    """
    first = vae.config.latent_channels  # the means come first, then the log variances
    vae.quant_conv.weight[first:] = 0
    vae.quant_conv.bias[first:] = log_variance

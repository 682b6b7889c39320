"""Start a stage from the weights of an earlier model instead of from random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch

from training.data import bytes_to_pixel_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel

# Standard deviation of a channel's means, as a share of the liveliest channel's, below which the
# channel carries nothing: the first model's dead one has 0.02, its others 0.6 and more.
SILENT_SHARE = 0.1
NetworkT = TypeVar("NetworkT", bound=torch.nn.Module)


def load_start(
    network_class: type[NetworkT], folder: Path, part: str, wanted: Mapping[str, Any]
) -> NetworkT:
    """Load one network of a model, in float32, to train it on.

    Args:
        network_class: its class.
        folder: a model in the standard folders, such as sdhelpers/tiny_sd.
        part: "vae", "text_encoder" or "unet".
        wanted: entries that its config must have: the stage's settings.

    Raises:
        ValueError: if the folder has no such part, or if it is built differently.
    """
    path = folder / part
    if not (path / "config.json").is_file():
        raise ValueError(
            f"{folder} has no {part} to start from; give a model folder such as sdhelpers/tiny_sd"
        )
    network = network_class.from_pretrained(path, dtype=torch.float32, use_safetensors=True)
    found = {name: getattr(network.config, name) for name in wanted}
    differing = [
        f"{name}={found[name]!r} (here {value!r})"
        for name, value in wanted.items()
        if _plain(found[name]) != _plain(value)
    ]
    if differing:
        raise ValueError(
            f"the {part} in {folder} is built differently: {', '.join(differing)}; name its values "
            "with --set to start from it"
        )
    return network


def _plain(value: object) -> object:
    """Let tuples and lists of the same entries be equal, as they are in a config file."""
    return list(value) if isinstance(value, tuple) else value


@torch.no_grad()
def wake_silent_channels(vae: AutoencoderKL, pictures: torch.Tensor) -> list[int]:
    """Draw new weights for latent channels whose means say nothing, in place.

    A channel that a strong KL term has silenced is a saddle point: its decoder ignores it, so no
    gradient asks its encoder to speak. Random weights on both sides of it end that.

    Args:
        vae: AutoencoderKL.
        pictures: (N, 3, H, W) uint8, to see which channels are silent.

    Returns:
        The numbers of the channels.
    """
    means = [
        vae.encode(bytes_to_pixel_values(batch)).latent_dist.mean for batch in pictures.split(16)
    ]
    stds = torch.cat(means).std((0, 2, 3))
    silent = (stds < SILENT_SHARE * stds.max()).nonzero().flatten().tolist()
    for channel in silent:
        weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
        torch.nn.init.kaiming_uniform_(weight[channel : channel + 1], a=5**0.5)  # Conv2d's own
        bias[channel] = 0
        reader = torch.empty_like(vae.post_quant_conv.weight)
        torch.nn.init.kaiming_uniform_(reader, a=5**0.5)
        vae.post_quant_conv.weight[:, channel] = reader[:, channel]
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


@torch.no_grad()
def fit_vocabulary(text_encoder: CLIPTextModel, used_ids: torch.Tensor, std: float) -> int:
    """Draw embeddings for words that are new, and drop those of words that are gone; in place.

    Args:
        text_encoder: CLIPTextModel; rows of zeros in its embedding are words it never saw.
        used_ids: (K,) int64, the ids that occur in training.
        std: no unit; standard deviation of new rows.

    Returns:
        How many rows are new.
    """
    weight = text_encoder.get_input_embeddings().weight
    is_used = torch.zeros(len(weight), dtype=torch.bool)
    is_used[used_ids] = True
    is_new = is_used & (weight == 0).all(1)
    weight[~is_used] = 0
    weight[is_new] = torch.randn(int(is_new.sum()), weight.shape[1]) * std
    return int(is_new.sum())

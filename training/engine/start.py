"""Start a stage from the weights of an earlier model instead of from random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from transformers import CLIPTextModel

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

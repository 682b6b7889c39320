"""Stage 2: render scenes, encode them with the trained VAE and keep the latents on disk.

Run: python -m training.cache_latents
Or, with a VAE that is there already instead of stage 1: --vae sdhelpers/tiny_sd
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import save

from training.checkpoints import write_atomically
from training.data import bytes_to_pixel_values
from training.options import (
    add_shared_arguments,
    choose_precision,
    make_accelerator,
    read_settings,
)
from training.render_scenes import load_or_render, shard_name, shard_seeds
from training.start import load_start
from training.vocabulary import load_tokenizer

if TYPE_CHECKING:
    from accelerate import Accelerator

    from training.settings import CacheSettings


@dataclass(frozen=True)
class LatentCache:
    """All that the later stages learn from.

    Attributes:
        mean, std: (N, 4, 16, 16) float16, of the unscaled latents.
        input_ids: (N, 77) int32, the captions.
        contrary_ids: (N, 77) int32, the contrary captions; rows of 0 where there is none.
        scaling_factor: float.
    """

    mean: torch.Tensor
    std: torch.Tensor
    input_ids: torch.Tensor
    contrary_ids: torch.Tensor
    scaling_factor: float


@torch.inference_mode()
def encode(
    vae: AutoencoderKL, pictures: torch.Tensor, batch_size: int, accelerator: Accelerator
) -> dict[str, torch.Tensor]:
    """Encode pictures.

    Args:
        vae: AutoencoderKL.
        pictures: (N, 3, 128, 128) uint8.
        batch_size: pictures at a time.
        accelerator: accelerate.Accelerator.

    Returns:
        "mean" and "std": (N, 4, 16, 16) float16 on the CPU, of the unscaled latents.
    """
    parts = {"mean": [], "std": []}
    for batch in pictures.split(batch_size):
        with accelerator.autocast():
            posterior = vae.encode(bytes_to_pixel_values(batch.to(accelerator.device))).latent_dist
        parts["mean"].append(posterior.mean.half().cpu().contiguous())
        parts["std"].append(posterior.std.half().cpu().contiguous())
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def cache_latents(settings: CacheSettings, folder: Path, precision: str = "auto") -> None:
    """Write every file of the cache that is not there yet; several processes share the work.

    Args:
        settings: `CacheSettings`.
        folder: the run's folder, with a trained VAE in it.
        precision: see `RunOptions`.
    """
    accelerator = make_accelerator(precision)
    tokenizer = load_tokenizer()
    vae = AutoencoderKL.from_pretrained(folder / "vae" / "model").to(
        accelerator.device, memory_format=torch.channels_last
    )
    metadata = {"scaling_factor": json.dumps(vae.config.scaling_factor)}
    shards = list(shard_seeds(settings))
    for seeds in shards[accelerator.process_index :: accelerator.num_processes]:
        path = folder / "latents" / shard_name(seeds)
        if path.exists():
            continue
        scenes = load_or_render(folder, tokenizer, seeds, settings)
        latents = encode(vae, scenes.pop("pictures"), settings.batch_size, accelerator)
        data = save(latents | scenes, metadata)
        write_atomically(path, lambda file, data=data: file.write(data))
        done = seeds[-1] + 1 - settings.first_seed
        print(f"{path.name}: {done} of {settings.num_scenes} scenes", flush=True)
    accelerator.wait_for_everyone()


def take_vae(model: Path, folder: Path) -> None:
    """Put the VAE of a model into a run, where stage 1 would leave its own.

    Args:
        model: a model folder.
        folder: the run's.

    Raises:
        ValueError: if the model has no VAE, or the run has trained one.
    """
    own = folder / "vae" / "checkpoint.pt"
    if own.exists():
        raise ValueError(f"{own} says that the run trains a VAE of its own; use another --folder")
    load_start(AutoencoderKL, model, "vae", {}).save_pretrained(folder / "vae" / "model")


def load_latents(folder: Path) -> LatentCache:
    """Load the whole cache.

    Raises:
        ValueError: if there is no cache, if its files overlap, or if they are of another VAE than
            the run's.
    """
    paths = sorted((folder / "latents").glob("*.safetensors"))
    if not paths:
        raise ValueError(f"no latents in {folder}; run python -m training.cache_latents first")
    spans = sorted(tuple(map(int, path.stem.split("_"))) for path in paths)
    if any(start + count > after for (start, count), (after, _) in itertools.pairwise(spans)):
        raise ValueError(
            f"{folder / 'latents'} holds some scenes twice, in files of different sizes; delete "
            "the folder and run python -m training.cache_latents again"
        )
    config = json.loads((folder / "vae" / "model" / "config.json").read_bytes())
    parts = {"mean": [], "std": [], "input_ids": [], "contrary_ids": []}
    factors = set()
    for path in paths:
        with safe_open(path, "pt") as file:
            factors.add(json.loads(file.metadata()["scaling_factor"]))
            for name, tensors in parts.items():
                tensors.append(file.get_tensor(name))
    # Each VAE's factor is measured, to many digits, so it tells one VAE from another.
    if factors != {config["scaling_factor"]}:
        raise ValueError(
            f"{folder / 'latents'} holds latents of another VAE than {folder / 'vae' / 'model'}; "
            "delete the folder and run python -m training.cache_latents again"
        )
    joined = {name: torch.cat(tensors) for name, tensors in parts.items()}
    return LatentCache(**joined, scaling_factor=factors.pop())


def main() -> None:
    """Write the cache as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_shared_arguments(parser)
    parser.add_argument("--vae", type=Path, help="a model folder whose VAE the run shall use")
    arguments = parser.parse_args()
    precision = choose_precision(arguments.precision)  # once: two timings might disagree
    accelerator = make_accelerator(precision)
    if arguments.vae is not None and accelerator.is_main_process:
        take_vae(arguments.vae, arguments.folder)
    accelerator.wait_for_everyone()
    cache_latents(read_settings(arguments, "cache"), arguments.folder, precision)


if __name__ == "__main__":
    main()

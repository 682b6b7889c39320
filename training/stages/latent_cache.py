"""Stage 2's files: scenes, rendered beforehand or on the spot, and their latents."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import load_file, save

from training.engine.checkpoints import write_atomically
from training.engine.start import load_start
from training.world.data import bytes_to_pixel_values, load_tokenizer, render_batches, tokenize

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from accelerate import Accelerator
    from transformers import CLIPTokenizer

    from training.engine.settings import CacheSettings


def render_shard(
    tokenizer: CLIPTokenizer, seeds: range, settings: CacheSettings
) -> dict[str, torch.Tensor]:
    """Render the scenes of one file.

    Returns:
        dict of tensors: "pictures" (N, 3, 128, 128) uint8; "input_ids" (N, 77) int32, the captions;
        "contrary_ids", likewise, the contrary captions, and 0 in a row without one.
    """
    pictures, captions, contrary_captions = [], [], []
    for batch in render_batches(seeds, settings.batch_size):
        pictures.append(batch[0])
        captions += batch[1]
        contrary_captions += batch[2]
    contrary_ids = tokenize(tokenizer, contrary_captions)
    contrary_ids[[not caption for caption in contrary_captions]] = 0
    return {
        "pictures": torch.cat(pictures),
        "input_ids": tokenize(tokenizer, captions),
        "contrary_ids": contrary_ids,
    }


def shard_seeds(settings: CacheSettings) -> Iterator[range]:
    """Yield the seeds of each file of the cache."""
    end = settings.first_seed + settings.num_scenes
    for start in range(settings.first_seed, end, settings.shard_size):
        yield range(start, min(start + settings.shard_size, end))


def shard_name(seeds: range) -> str:
    """Return the name of one file of the cache."""
    return f"{seeds[0]}_{len(seeds)}.safetensors"


def load_or_render(
    folder: Path, tokenizer: CLIPTokenizer, seeds: range, settings: CacheSettings
) -> dict[str, torch.Tensor]:
    """Return the scenes of one file as of `render_shard`, from the run's folder if it has them."""
    path = folder / "scenes" / shard_name(seeds)
    return load_file(path) if path.exists() else render_shard(tokenizer, seeds, settings)


def render_scenes(settings: CacheSettings, folder: Path) -> None:
    """Write every file of scenes that is not there yet."""
    tokenizer = load_tokenizer()
    for seeds in shard_seeds(settings):
        path = folder / "scenes" / shard_name(seeds)
        if not path.exists():
            data = save(render_shard(tokenizer, seeds, settings))
            write_atomically(path, lambda file, data=data: file.write(data))
            print(f"{path.name}: {seeds[-1] + 1 - settings.first_seed} scenes", flush=True)


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


def cache_latents(settings: CacheSettings, folder: Path, accelerator: Accelerator) -> None:
    """Write every file of the cache that is not there yet; several processes share the work.

    Args:
        settings: `CacheSettings`.
        folder: the run's folder, with a trained VAE in it.
        accelerator: accelerate.Accelerator.
    """
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

"""Stage 2: render scenes, encode them with the trained VAE and keep the latents on disk.

Run: python -m training.cache_latents
Or, with a VAE that is there already instead of stage 1: --vae training/next_model
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import save
from transformers import CLIPTokenizer

from sdhelpers.text import tokenize_prompt
from training.checkpoints import write_atomically
from training.data import bytes_to_pixel_values, render_batches
from training.options import add_shared_arguments, make_accelerator, read_settings
from training.start import load_start

if TYPE_CHECKING:
    from accelerate import Accelerator

    from training.settings import CacheSettings

# The true CLIP vocabulary, which ships with the package; its files are data, not code.
TOKENIZER_FOLDER = Path(__file__).parents[1] / "sdhelpers" / "tiny_sd" / "tokenizer"


def load_tokenizer() -> CLIPTokenizer:
    """Load the CLIP tokenizer."""
    return CLIPTokenizer.from_pretrained(TOKENIZER_FOLDER)


@torch.inference_mode()
def encode_shard(
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    seeds: range,
    settings: CacheSettings,
    accelerator: Accelerator,
) -> dict[str, torch.Tensor]:
    """Render and encode the scenes of one file.

    Returns:
        dict of tensors: "mean" and "std" (N, 4, 16, 16) float16, of the unscaled latents, and
        "input_ids" (N, 77) int32.
    """
    parts = {"mean": [], "std": [], "input_ids": []}
    for pictures, captions in render_batches(seeds, settings.batch_size):
        pixel_values = bytes_to_pixel_values(pictures).to(accelerator.device)
        with accelerator.autocast():
            posterior = vae.encode(pixel_values).latent_dist
        parts["mean"].append(posterior.mean.half().cpu().contiguous())
        parts["std"].append(posterior.std.half().cpu().contiguous())
        parts["input_ids"].append(tokenize_prompt(tokenizer, list(captions)).int())
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def shard_path(folder: Path, first_seed: int, count: int) -> Path:
    """Return the path of one file of the cache."""
    return folder / "latents" / f"{first_seed}_{count}.safetensors"


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
    starts = range(0, settings.num_scenes, settings.shard_size)
    for start in starts[accelerator.process_index :: accelerator.num_processes]:
        count = min(settings.shard_size, settings.num_scenes - start)
        seeds = range(settings.first_seed + start, settings.first_seed + start + count)
        path = shard_path(folder, seeds[0], count)
        if path.exists():
            continue
        tensors = encode_shard(vae, tokenizer, seeds, settings, accelerator)
        metadata = {"scaling_factor": json.dumps(vae.config.scaling_factor)}
        data = save(tensors, metadata)
        write_atomically(path, lambda file, data=data: file.write(data))
        print(f"{path.name}: {start + count} of {settings.num_scenes} scenes", flush=True)
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


def used_token_ids(input_ids: torch.Tensor, tokenizer: CLIPTokenizer) -> torch.Tensor:
    """Return the ids that occur in captions or in the empty prompt, (K,) int64.

    Args:
        input_ids: (N, 77) int, of the captions.
        tokenizer: CLIPTokenizer.
    """
    empty_ids = tokenize_prompt(tokenizer, "")
    return torch.cat([input_ids.unique().long(), empty_ids.unique()]).unique()


def load_latents(folder: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """Load the whole cache.

    Returns:
        (mean, std, input_ids, scaling_factor): float16, float16, int32, float.

    Raises:
        ValueError: if there is no cache, or files of different VAEs are mixed in it.
    """
    paths = sorted((folder / "latents").glob("*.safetensors"))
    if not paths:
        raise ValueError(f"no latents in {folder}; run python -m training.cache_latents first")
    parts, factors = {"mean": [], "std": [], "input_ids": []}, set()
    for path in paths:
        with safe_open(path, "pt") as file:
            factors.add(json.loads(file.metadata()["scaling_factor"]))
            for name, tensors in parts.items():
                tensors.append(file.get_tensor(name))
    if len(factors) > 1:
        raise ValueError(
            f"{folder / 'latents'} mixes the latents of {len(factors)} different VAEs; delete the "
            "folder and run python -m training.cache_latents again"
        )
    joined = [torch.cat(tensors) for tensors in parts.values()]
    return *joined, factors.pop()


def main() -> None:
    """Write the cache as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_shared_arguments(parser)
    parser.add_argument("--vae", type=Path, help="a model folder whose VAE the run shall use")
    arguments = parser.parse_args()
    if arguments.vae is not None:
        take_vae(arguments.vae, arguments.folder)
    cache_latents(read_settings(arguments, "cache"), arguments.folder, arguments.precision)


if __name__ == "__main__":
    main()

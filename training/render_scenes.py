"""Stage 0, where the machine has many cores: render the scenes and keep them on disk, 49 kB each.

Stage 2 renders what is not there. So this can run beside stage 1, which keeps a GPU busy and leaves
the cores idle.

Run: python -m training.render_scenes
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save

from training.checkpoints import write_atomically
from training.data import render_batches
from training.options import add_shared_arguments, read_settings
from training.vocabulary import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import CLIPTokenizer

    from training.settings import CacheSettings


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Turn captions into ids, all at once.

    `sdhelpers.text.tokenize_prompt` gives the same ids, and looks at each prompt by itself for
    words that it loses; that would take a second for a thousand captions.

    Returns:
        (N, 77) int32.

    Raises:
        ValueError: if a caption is too long.
    """
    rows = tokenizer(captions, padding="max_length").input_ids
    longest = max(map(len, rows))
    if longest > tokenizer.model_max_length:
        raise ValueError(
            f"a caption has {longest} tokens, and the text encoder reads "
            f"{tokenizer.model_max_length}; shorten the grammar's captions"
        )
    return torch.tensor(rows, dtype=torch.int32)


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


def main() -> None:
    """Render as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_shared_arguments(parser)
    arguments = parser.parse_args()
    render_scenes(read_settings(arguments, "cache"), arguments.folder)


if __name__ == "__main__":
    main()

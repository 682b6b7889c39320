"""The world as tensors: scenes rendered, in parallel where there are cores, and captions as ids."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTokenizer

from sdhelpers import TINY_SD
from training.world.scenes import scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image


def image_to_picture(image: Image.Image) -> torch.Tensor:
    """Turn a PIL RGB picture into (3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


class Scenes(Dataset):
    """All scenes; the seed is the index."""

    def __getitem__(self, seed: int) -> tuple[torch.Tensor, str, str]:
        """Return (picture, caption, contrary caption or ""); the picture is (3, 128, 128) uint8."""
        made = scene(seed)
        return image_to_picture(made.image), made.caption, made.contrary_caption or ""


def render_batches(
    seeds: range, batch_size: int, num_workers: int | None = None
) -> Iterator[tuple[torch.Tensor, Sequence[str], Sequence[str]]]:
    """Render scenes in order, batch by batch.

    Args:
        seeds: range of ints.
        batch_size: scenes.
        num_workers: processes; None takes as many as there are cores, 0 stays in this one.

    Yields:
        (pictures, captions, contrary captions): (B, 3, 128, 128) uint8 and B str each; see
        `Scene`. A contrary caption that there is not is "".
    """
    if num_workers is None:
        num_workers = os.cpu_count() or 1
    yield from DataLoader(Scenes(), batch_size, sampler=seeds, num_workers=num_workers)


def render_all(seeds: range) -> torch.Tensor:
    """Render scenes into one tensor.

    Returns:
        (N, 3, 128, 128) uint8.
    """
    return torch.cat([pictures for pictures, *_ in render_batches(seeds, 64)])


def bytes_to_pixel_values(pictures: torch.Tensor) -> torch.Tensor:
    """Turn uint8 in [0, 255] into float32 in [-1, 1], channels last in memory."""
    values = pictures.float() / 127.5 - 1
    return values.contiguous(memory_format=torch.channels_last)


def load_tokenizer() -> CLIPTokenizer:
    """Load CLIP's tokenizer; its true vocabulary ships with the built-in model."""
    return CLIPTokenizer.from_pretrained(TINY_SD / "tokenizer")


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


def used_token_ids(input_ids: torch.Tensor, tokenizer: CLIPTokenizer) -> torch.Tensor:
    """Return the ids that occur in captions or in the empty prompt, (K,) int64.

    Args:
        input_ids: (N, 77) int, of the captions.
        tokenizer: CLIPTokenizer.
    """
    return torch.cat([input_ids, tokenize(tokenizer, [""])]).unique().long()

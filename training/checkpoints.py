"""Checkpoints that survive a kill at any moment: written beside, then renamed into place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def write_atomically(path: Path | str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that its name always means a complete one, the old or the new.

    Args:
        path: where the file goes; its folder is made if need be.
        write: function that writes to the binary file object it is given.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    with open(unfinished, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def save_checkpoint(path: Path | str, state: dict[str, Any]) -> None:
    """Save a nested dict of tensors and plain values, atomically."""
    write_atomically(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path | str) -> dict[str, Any] | None:
    """Load a checkpoint onto the CPU.

    Returns:
        the dict, or None where there is no checkpoint yet.

    Raises:
        ValueError: if the file is no checkpoint.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:  # the disk's trouble, not the file's
        raise
    except Exception as error:
        raise ValueError(f"{path} is no readable checkpoint; delete it to start anew") from error

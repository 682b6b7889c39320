"""What survives a kill at any moment: a run's checkpoint, and what a measurement has found so far.

Every file is written beside its old self, then renamed into its place.
"""

from __future__ import annotations

import hashlib
import json
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


def fingerprint(folders: list[Path], settings: dict[str, Any]) -> str:
    """Return a hash of models and settings: what was found under another one means nothing here.

    Args:
        folders: of models; the contents of their weights and configs count.
        settings: plain values.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".safetensors", ".json"):
                digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


class Kept:
    """Results by name, written to a file as soon as each is there.

    Args:
        path: the file; one that belongs to another fingerprint is replaced.
        mark: what the results belong to, as of `fingerprint`.
    """

    def __init__(self, path: Path, mark: str) -> None:
        self.path, self.mark = path, mark
        self.found: dict[str, Any] = {}
        if path.exists():
            saved = json.loads(path.read_bytes())
            if saved["mark"] == mark:
                self.found = saved["found"]

    def __call__(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return what was found under a name, or measure it and keep it.

        Args:
            name: tells the result apart from all others.
            measure: gives plain values for JSON.
        """
        if name not in self.found:
            self.found[name] = measure()
            text = json.dumps({"mark": self.mark, "found": self.found}).encode()
            write_atomically(self.path, lambda file: file.write(text))
        return self.found[name]

    def drop(self) -> None:
        """Delete the file: the whole is finished."""
        self.path.unlink(missing_ok=True)

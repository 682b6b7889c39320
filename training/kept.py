"""What a long measurement has found so far, on disk: a killed run goes on where it stood."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.checkpoints import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable


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

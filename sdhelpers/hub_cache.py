"""The hub's cache on this machine: what of a model is there, and whether it arrived whole."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdhelpers.model_folder import find_json_problem, find_safetensors_problem

ALWAYS_THERE = "scheduler/scheduler_config.json"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub: `sha256` is "" where the hub gives none (small files)."""

    path: str
    num_bytes: int
    sha256: str


def find_snapshot(model: str, revision: str) -> Path | None:
    """Give the folder of a model in the cache, whole or not; None if there is none."""
    path = find_cached(model, ALWAYS_THERE, revision)
    return None if path is None else path.parents[1]


def find_cached(model: str, path: str, revision: str) -> Path | None:
    """Give a file's place in the cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, path, revision=revision)
    return Path(found) if isinstance(found, str) else None


def throw_away_damaged(model: str, files: Sequence[RemoteFile], commit: str) -> None:
    """Take files out of the cache that a power cut, or an interrupted check, left damaged there."""
    for file in files:
        cached = find_cached(model, file.path, commit)
        if cached is not None and is_damaged(cached, file):
            throw_away(cached)


def is_damaged(path: Path, file: RemoteFile) -> bool:
    """Tell whether a file in the cache is not what the hub sends."""
    return bool(
        path.stat().st_size != file.num_bytes
        or (file.sha256 and _sha256(path) != file.sha256)
        or (path.suffix == ".safetensors" and find_safetensors_problem(path))
        or (path.suffix == ".json" and find_json_problem(path))
    )


def throw_away(path: Path) -> None:
    """Take a file out of the cache, which holds it once, and links to it."""
    blob = path.resolve()
    path.unlink()
    blob.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    """Give a file's checksum, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()

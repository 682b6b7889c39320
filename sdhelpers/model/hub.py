"""Fetch a model from the Hugging Face hub: announced first, checked before and after."""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdhelpers.model.folder import (
    HALF,
    PARTS,
    find_existing,
    find_json_problem,
    find_model_problems,
    find_safetensors_problem,
    weights_file,
)
from sdhelpers.model.hub_errors import ModelError, explain
from sdhelpers.model.known import KNOWN_MODELS

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

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


_NETWORKS = ("text_encoder", "unet", "vae")
_SMALL_FILES = r"(tokenizer|text_encoder|unet|vae|scheduler)/[^/]+\.(json|txt)"
_NEEDED = (
    "tokenizer/tokenizer_config.json",
    *(f"{part}/config.json" for part in _NETWORKS),
    ALWAYS_THERE,
)
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_MARGIN = 100e6  # bytes that stay free on the disk
_PATIENCE = 30.0  # seconds for the hub to answer; the client's own default is to wait for ever


class MissingVariantError(ModelError):
    """The model has weights, but not in the precision that was asked for."""


def fetch_model(
    model: str,
    parts: Sequence[str] = PARTS,
    *,
    variant: str | None = None,
    revision: str | None = None,
) -> Path:
    """Give the folder of a model on the hub, fetched if it is not in the cache yet.

    What will be fetched, how large it is, where it goes and under which licence is printed
    first. A model that is in the cache needs no network, and nothing is asked. Only safetensors
    are fetched, and no code.

    Args:
        model: id on the hub, such as "CompVis/stable-diffusion-v1-4".
        parts: those whose weights are needed; configs and tokenizer (about 2 MB) always come.
        variant: None for the full weights, "fp16" for those in half precision: half the
            download. Where the one is in the cache, the other is not fetched, too.
        revision: branch, tag or commit; None: the one that `KNOWN_MODELS` names, or "main".

    Returns:
        A folder in the standard layout, inside the hub's cache. Change nothing in it.

    Raises:
        ModelError: if the hub, the network or the disk don't allow it, with what to do.
        ValueError: if an argument does not fit.
    """
    check_choice(parts, variant)
    if revision is None:
        revision = KNOWN_MODELS[model].revision if model in KNOWN_MODELS else "main"
    snapshot = find_snapshot(model, revision)
    if snapshot is not None and not find_model_problems(snapshot, parts, variant):
        return snapshot
    from huggingface_hub import constants

    try:
        info = _ask(model, revision)
        files = choose_files(info, parts, variant)
        throw_away_damaged(model, files, info.sha)
        missing = [file for file in files if find_cached(model, file.path, info.sha) is None]
        _announce(model, revision, missing, Path(constants.HF_HUB_CACHE), variant)
        paths = [_fetch(model, file, info.sha) for file in files]
        _remember(model, revision)
    except ModelError:
        raise
    except Exception as error:
        raise explain(error, model, revision, constants.HF_HUB_CACHE) from error
    snapshot = paths[0].parents[files[0].path.count("/")]
    problems = find_model_problems(snapshot, parts, variant)
    if problems:
        raise ModelError(f"{model!r} lacks something:\n  " + "\n  ".join(problems))
    return snapshot


def choose_files(info: "ModelInfo", parts: Sequence[str], variant: str | None) -> list[RemoteFile]:
    """Choose what to fetch from the list of a repository's files.

    Raises:
        ModelError: if this is no model of this kind, or a part's weights are not there as
            safetensors, or not in this variant.
    """
    files = {
        one.rfilename: RemoteFile(
            one.rfilename, one.size or 0, getattr(one.lfs, "sha256", None) or ""
        )
        for one in info.siblings
    }
    lacking = [path for path in _NEEDED if path not in files]
    if lacking:
        raise ModelError(
            f"{info.id!r} is no Stable Diffusion 1 model in the standard layout: it has no "
            f"{', '.join(lacking)}.\nWhat to do: check the spelling, or take another model."
        )
    chosen = [path for path in files if re.fullmatch(_SMALL_FILES, path)]
    for part in set(_NETWORKS) & set(parts):
        pattern = _weights_pattern(part, variant)
        weights = [path for path in files if re.fullmatch(pattern, path)]
        if not weights:
            raise _refuse(info.id, part, variant, list(files))
        chosen += weights
    return [files[path] for path in sorted(set(chosen))]


def check_choice(parts: Sequence[str], variant: str | None) -> None:
    """Raise a ValueError unless the arguments fit."""
    if isinstance(parts, str) or not set(parts) <= set(PARTS):
        raise ValueError(f"parts must be some of {', '.join(PARTS)}, got {parts!r}.")
    if variant not in (None, HALF):
        raise ValueError(f"variant must be None or {HALF!r}, got {variant!r}.")


def _weights_pattern(part: str, variant: str | None) -> str:
    """Give the pattern of a part's weights: one file, or shards and their list."""
    one, _, _ = weights_file(part, variant).rpartition(".")
    index = ".".join(filter(None, (weights_file(part), "index", variant, "json")))
    shards = r"(-\d+-of-\d+)?"
    return rf"{part}/({re.escape(one)}{shards}\.safetensors|{re.escape(index)})"


def _refuse(model: str, part: str, variant: str | None, paths: list[str]) -> ModelError:
    """Say what is there instead of the weights that were wanted."""
    inside = [path for path in paths if path.startswith(f"{part}/")]
    safe = [path for path in inside if path.endswith(".safetensors")]
    if safe:
        return MissingVariantError(
            f"{model!r} has no weights in the variant {variant!r} for its {part}, only "
            f"{', '.join(safe)}.\nWhat to do: "
            + ("leave variant out." if variant else f"say variant={HALF!r}.")
        )
    pickles = [path for path in inside if path.endswith(_PICKLES)]
    offers = f"only pickles ({', '.join(pickles)})" if pickles else "no weights"
    return ModelError(
        f"{model!r} is refused: for its {part} it offers {offers}. Reading a pickle can run "
        "whatever code its author put into it, so only safetensors are read here.\nWhat to do: "
        f"take another model, or another revision of this one that has {weights_file(part)}."
    )


def _ask(model: str, revision: str) -> "ModelInfo":
    """Ask the hub for the list of files, with sizes and checksums."""
    from huggingface_hub import HfApi

    return HfApi().model_info(model, revision=revision, files_metadata=True, timeout=_PATIENCE)


def _announce(
    model: str, revision: str, files: list[RemoteFile], cache: Path, variant: str | None
) -> None:
    """Say what will be fetched, and stop here if the disk has no room for it."""
    total = sum(file.num_bytes for file in files)
    nearest = find_existing(cache)
    if nearest is None:  # on Windows, a drive that is not there
        raise ModelError(
            f"{model!r} can't be kept in {cache}: there is no such drive.\nWhat to do: set HF_HOME "
            "to a folder of yours."
        )
    free = shutil.disk_usage(nearest).free
    lines = [f"Fetching {model} (revision {revision}), once:"]
    for part in PARTS:
        num_bytes = sum(file.num_bytes for file in files if file.path.startswith(f"{part}/"))
        if num_bytes:
            lines.append(f"  {part:<13}{write_size(num_bytes):>8}")
    lines.append(f"  {'in all':<13}{write_size(total):>8}, into {cache} ({write_size(free)} free)")
    if model in KNOWN_MODELS:
        lines.append(f"  licence: {KNOWN_MODELS[model].licence}")
        lines.append(f"  to run it: {KNOWN_MODELS[model].needs}")
    if free < total + _MARGIN:
        half = "" if variant == HALF else f"; variant={HALF!r} needs half the room"
        raise ModelError(
            f"There is no room for {model!r}: it needs {write_size(total + _MARGIN)} in {cache}, "
            f"where {write_size(free)} are free. Nothing was fetched.\nWhat to do: make room, or "
            f"set HF_HOME to a folder on a larger disk{half}.\n"
            "The built-in model needs no network: load_components()."
        )
    print("\n".join(lines), flush=True)


def _fetch(model: str, file: RemoteFile, commit: str) -> Path:
    """Fetch one file if it is not in the cache, and check that it arrived as it was sent."""
    from huggingface_hub import hf_hub_download

    cached = find_cached(model, file.path, commit)
    if cached is not None:
        return cached
    path = Path(hf_hub_download(model, file.path, revision=commit))
    if is_damaged(path, file):
        throw_away(path)
        raise ModelError(
            f"{file.path} of {model!r} arrived damaged (its checksum is wrong) and was thrown "
            "away.\nWhat to do: start again; what was fetched whole is kept. If it happens "
            "again, a proxy may be changing files on the way."
        )
    return path


def _remember(model: str, revision: str) -> None:
    """Let the cache note which commit the branch stands for, so that later nobody is asked."""
    from huggingface_hub import hf_hub_download

    hf_hub_download(model, ALWAYS_THERE, revision=revision)


def write_size(num_bytes: float) -> str:
    """Write a size as people do, in powers of 1000: "4.3 GB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes:.0f} bytes"

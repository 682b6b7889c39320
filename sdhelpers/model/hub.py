"""Fetch a model from the Hugging Face hub: announced first, checked before and after."""

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdhelpers.model.folder import (
    HALF,
    PARTS,
    find_existing,
    find_json_problem,
    find_model_problems,
    index_file,
    weights_file,
)
from sdhelpers.model.hub_errors import ModelError, explain, hub_failures
from sdhelpers.model.known import KNOWN_MODELS

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_NETWORKS = ("text_encoder", "unet", "vae")
_SMALL_FILES = r"(tokenizer|text_encoder|unet|vae|scheduler)/[^/]+\.(json|txt)"
_ALWAYS_THERE = "scheduler/scheduler_config.json"
_NEEDED = (
    "tokenizer/tokenizer_config.json",
    *(f"{part}/config.json" for part in _NETWORKS),
    _ALWAYS_THERE,
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
    config = _find_cached(model, _ALWAYS_THERE, revision)
    if config is not None and not find_model_problems(config.parents[1], parts, variant):
        return config.parents[1]
    from huggingface_hub import HfApi, constants, hf_hub_download

    try:
        info = HfApi().model_info(model, revision=revision, files_metadata=True, timeout=_PATIENCE)
        files = choose_files(info, parts, variant)
        _throw_away_damaged(model, files, info.sha)
        missing = [one for one in files if _find_cached(model, one.rfilename, info.sha) is None]
        names = [file.rfilename for file in missing]
        plan = [hf_hub_download(model, name, revision=info.sha, dry_run=True) for name in names]
        _announce(model, revision, plan, variant)
        for file in missing:
            _fetch(model, file, info.sha)
        # Last, for now the cache notes which commit the branch stands for: later nobody is asked.
        hf_hub_download(model, _ALWAYS_THERE, revision=revision)
        snapshot = _find_cached(model, _ALWAYS_THERE, info.sha).parents[1]
    except ModelError:
        raise
    except hub_failures() as error:
        raise explain(error, model, revision, constants.HF_HUB_CACHE) from error
    problems = find_model_problems(snapshot, parts, variant)
    if problems:
        raise ModelError(f"{model!r} lacks something:\n  " + "\n  ".join(problems))
    return snapshot


def choose_files(
    info: "ModelInfo", parts: Sequence[str], variant: str | None
) -> "list[RepoSibling]":
    """Choose what to fetch from the list of a repository's files.

    Raises:
        ModelError: if this is no model of this kind, or a part's weights are not there as
            safetensors, or not in this variant.
    """
    files = {file.rfilename: file for file in info.siblings or []}
    lacking = [path for path in _NEEDED if path not in files]
    if lacking:
        raise ModelError(
            f"{info.id!r} is no Stable Diffusion 1 model in the standard layout: it has no "
            f"{', '.join(lacking)}.\nWhat to do: check the spelling, or take another model."
        )
    chosen = [path for path in files if re.fullmatch(_SMALL_FILES, path)]
    for part in [one for one in _NETWORKS if one in parts]:
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
    index = re.escape(index_file(part, variant))
    return rf"{part}/({re.escape(one)}(-\d+-of-\d+)?\.safetensors|{index})"


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


def _find_cached(model: str, path: str, revision: str) -> Path | None:
    """Give a file's place in the cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, path, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _throw_away_damaged(model: str, files: "Sequence[RepoSibling]", commit: str) -> bool:
    """Take files out of the cache that are not what the hub sends, and tell whether any was.

    They arrived so, or a power cut or an interrupted check left them there.
    """
    cached = [(_find_cached(model, file.rfilename, commit), file) for file in files]
    damaged = [path for path, file in cached if path is not None and _is_damaged(path, file)]
    for path in damaged:
        blob = path.resolve()  # the cache holds a file once, and links to it
        path.unlink()
        blob.unlink(missing_ok=True)
    return bool(damaged)


def _is_damaged(path: Path, file: "RepoSibling") -> bool:
    """Compare a file with what the hub says of it: no checksum of small files, a mirror nothing."""
    if file.size is not None and path.stat().st_size != file.size:
        return True
    if file.lfs is None:
        return path.suffix == ".json" and bool(find_json_problem(path))
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() != file.lfs.sha256


def _announce(
    model: str, revision: str, files: "list[DryRunFileInfo]", variant: str | None
) -> None:
    """Say what will be fetched, if anything, and stop here if the disk has no room for it."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    sizes = {file.filename: file.file_size or 0 for file in files if file.will_download}
    if not sizes:
        return
    total = sum(sizes.values())
    nearest = find_existing(cache)
    if nearest is None:  # on Windows, a drive that is not there
        raise ModelError(
            f"{model!r} can't be kept in {cache}: there is no such drive.\nWhat to do: set HF_HOME "
            "to a folder of yours."
        )
    free = shutil.disk_usage(nearest).free
    lines = [f"Fetching {model} (revision {revision}), once:"]
    for part in PARTS:
        num_bytes = sum(size for path, size in sizes.items() if path.startswith(f"{part}/"))
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


def _fetch(model: str, file: "RepoSibling", commit: str) -> None:
    """Fetch one file, and check that it arrived as it was sent.

    One after the other: the client's way to fetch several at once can't be interrupted.
    """
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(model, file.rfilename, revision=commit)
    except RuntimeError as error:  # so hf_xet, which fetches large files, speaks of all failures
        raise OSError(str(error)) from error
    if _throw_away_damaged(model, [file], commit):
        raise ModelError(
            f"{file.rfilename} of {model!r} arrived damaged (its checksum is wrong) and was thrown "
            "away.\nWhat to do: start again; what was fetched whole is kept. If it happens "
            "again, a proxy may be changing files on the way."
        )


def write_size(num_bytes: float) -> str:
    """Write a size as people do, in powers of 1000: "4.3 GB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes:.0f} bytes"

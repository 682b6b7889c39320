"""Is a model folder whole? Looked at file by file, without loading anything."""

import json
from collections.abc import Sequence
from pathlib import Path

TINY_SD = Path(__file__).parents[1] / "tiny_sd"
PARTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")

# For each part, sets of files of which one must be there whole.
_NEEDED_FILES = {
    "tokenizer": (
        ("tokenizer_config.json", "tokenizer.json"),
        ("tokenizer_config.json", "vocab.json", "merges.txt"),
    ),
    "text_encoder": (("config.json",),),
    "unet": (("config.json",),),
    "vae": (("config.json",),),
    "scheduler": (("scheduler_config.json",),),
}
_WEIGHTS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
HALF = "fp16"  # the hub's name for a second set of weights, in half precision
_HEADER_LENGTH_BYTES = 8  # a safetensors file opens with the length of its JSON header


def find_existing(folder: Path) -> Path | None:
    """Give the folder, or the nearest above it that exists; None if not even the drive does."""
    return next((one for one in (folder, *folder.parents) if one.exists()), None)


def weights_file(part: str, variant: str | None = None) -> str:
    """Give the name of a part's file of weights, such as "model.fp16.safetensors"."""
    return ".".join(filter(None, (_WEIGHTS[part], variant, "safetensors")))


def index_file(part: str, variant: str | None) -> str:
    """Give the name of the list of shards, of weights in more than one file."""
    return ".".join(filter(None, (weights_file(part), "index", variant, "json")))


def find_variant(part_folder: Path, part: str, wanted: str | None = None) -> str | None:
    """Choose between the weights that lie in a part's folder.

    Args:
        part_folder: such as `folder / "unet"`.
        part: its name.
        wanted: None or `HALF`.

    Returns:
        `wanted`, if such weights are there or no others; otherwise what is there.
    """
    other = HALF if wanted is None else None
    has_wanted, has_other = (
        (part_folder / weights_file(part, variant)).is_file()
        or (part_folder / index_file(part, variant)).is_file()
        for variant in (wanted, other)
    )
    return other if has_other and not has_wanted else wanted


def find_model_problems(
    folder: Path, parts: Sequence[str] = PARTS, variant: str | None = None
) -> list[str]:
    """List what is missing from a model folder or damaged in it.

    Args:
        folder: in the standard layout: `tokenizer/ text_encoder/ unet/ vae/ scheduler/`.
        parts: those whose weights are needed; the small files of all parts always are.
        variant: of the weights; None or `HALF`. The other will do where this one is missing.

    Returns:
        One sentence for each problem, naming the file; empty if all is well.
    """
    if not folder.is_dir():
        return [f"There is no folder {folder}."]
    problems = []
    for part in PARTS:
        problems += _missing_files(folder / part, _NEEDED_FILES[part])
        problems += [find_json_problem(path) for path in sorted((folder / part).glob("*.json"))]
        if part in _WEIGHTS and part in parts:
            problems += _weights_problems(
                folder / part, part, find_variant(folder / part, part, variant)
            )
    return [problem for problem in problems if problem]


def _missing_files(part_folder: Path, alternatives: tuple[tuple[str, ...], ...]) -> list[str]:
    """Name the files missing from the alternative that is nearest to complete."""
    missing = [
        [name for name in names if not (part_folder / name).is_file()] for names in alternatives
    ]
    return [f"{part_folder / name} is missing." for name in min(missing, key=len)]


def find_json_problem(path: Path) -> str:
    """Say what is wrong with a JSON file, or give an empty string."""
    try:
        is_object = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (ValueError, OSError) as error:
        return f"{path} cannot be read as JSON: {error}."
    return "" if is_object else f"{path} is damaged: it holds no JSON object."


def _weights_problems(part_folder: Path, part: str, variant: str | None) -> list[str]:
    """Check that the weights are there as safetensors, whole or in shards, and not cut short."""
    path = part_folder / weights_file(part, variant)
    if path.is_file():
        return [find_safetensors_problem(path)]
    index = part_folder / index_file(part, variant)
    if not index.is_file():
        others = sorted(found.name for found in path.parent.glob("*.*") if found != path)
        others = [name for name in others if name.endswith((".safetensors", ".bin", ".ckpt"))]
        instead = f" It holds {', '.join(others)}, which is not loaded." if others else ""
        return [f"{path} is missing.{instead}"]
    if find_json_problem(index):
        return []  # already reported as a JSON file
    shards = sorted(
        set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
    )
    if not shards:
        return [f"{index} lists no files."]
    return [
        find_safetensors_problem(path.with_name(name))
        if path.with_name(name).is_file()
        else f"{path.with_name(name)} is missing."
        for name in shards
    ]


def find_safetensors_problem(path: Path) -> str:
    """Say whether a safetensors file is shorter or longer than its header promises."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
        if size < _HEADER_LENGTH_BYTES + header_length:
            return f"{path} is truncated: {size:,} bytes, not even its header is whole."
        try:
            header = json.loads(file.read(header_length))
            tensors = [entry for name, entry in header.items() if name != "__metadata__"]
            end = max(entry["data_offsets"][1] for entry in tensors)
        except (ValueError, AttributeError, KeyError, TypeError, IndexError):
            return f"{path} is damaged: its header is not that of a safetensors file."
    expected = _HEADER_LENGTH_BYTES + header_length + end
    if size != expected:
        return f"{path} is truncated or damaged: {size:,} bytes instead of {expected:,}."
    return ""

"""Is a model folder whole? Looked at file by file, without loading anything."""

import json
from pathlib import Path

TINY_SD = Path(__file__).parent / "tiny_sd"
PARTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")

# For each part: the files without which it cannot be loaded. A tuple lists alternatives.
_NEEDED_FILES = {
    "tokenizer": (("tokenizer.json", "vocab.json"),),
    "text_encoder": (("config.json",),),
    "unet": (("config.json",),),
    "vae": (("config.json",),),
    "scheduler": (("scheduler_config.json",),),
}
_PARTS_WITH_WEIGHTS = ("text_encoder", "unet", "vae")
_HEADER_LENGTH_BYTES = 8  # a safetensors file opens with the length of its JSON header


def find_model_problems(folder: Path) -> list[str]:
    """List what is missing from a model folder or cut short in it.

    Args:
        folder: in the standard layout: `tokenizer/ text_encoder/ unet/ vae/ scheduler/`.

    Returns:
        One sentence for each problem, naming the file; empty if all is well.
    """
    if not folder.is_dir():
        return [f"{folder} is not a folder."]
    problems = []
    for part in PARTS:
        for names in _NEEDED_FILES[part]:
            if not any((folder / part / name).is_file() for name in names):
                problems.append(f"{folder / part / names[0]} is missing.")
        problems += [_json_problem(path) for path in sorted((folder / part).glob("*.json"))]
        if part in _PARTS_WITH_WEIGHTS:
            problems += _weights_problems(folder / part)
    return [problem for problem in problems if problem]


def _json_problem(path: Path) -> str:
    """Say what is wrong with a JSON file, or give an empty string."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        return f"{path} cannot be read as JSON: {error}."
    return ""


def _weights_problems(part_folder: Path) -> list[str]:
    """Check that a part has safetensors, each as long as its header says."""
    paths = sorted(part_folder.glob("*.safetensors"))
    if not paths:
        pickles = sorted(path.name for path in part_folder.glob("*.bin"))
        refused = f" Pickled weights ({', '.join(pickles)}) are not loaded." if pickles else ""
        return [f"{part_folder} holds no .safetensors file.{refused}"]
    return [_safetensors_problem(path) for path in paths]


def _safetensors_problem(path: Path) -> str:
    """Say whether a safetensors file is shorter or longer than its header promises."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
        if size < _HEADER_LENGTH_BYTES + header_length:
            return f"{path} is truncated: {size:,} bytes, not even its header is whole."
        try:
            header = json.loads(file.read(header_length))
        except ValueError:
            return f"{path} is not a safetensors file: its header is not JSON."
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = _HEADER_LENGTH_BYTES + header_length + max(ends, default=0)
    if size != expected:
        return f"{path} is truncated or damaged: {size:,} bytes instead of {expected:,}."
    return ""

"""Which model, and its five parts, loaded."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from packaging.version import Version

from sdhelpers.model.device import check_dtype, make_device, pick_device, pick_dtype
from sdhelpers.model.folder import HALF, PARTS, TINY_SD, find_model_problems, find_variant
from sdhelpers.model.hub import MissingVariantError, check_choice, fetch_model
from sdhelpers.model.known import SD_V1_4
from sdhelpers.model.memory import apply_savings, check_offload, explained_memory_errors
from sdhelpers.model.parts import Components

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def load_components(
    model: str | Path = TINY_SD,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    *,
    variant: str | None = None,
    revision: str | None = None,
    attention_slicing: bool = False,
    vae_slicing: bool = False,
    vae_tiling: bool = False,
    cpu_offload: bool = False,
) -> Components:
    """Load tokenizer, text encoder, UNet, VAE and scheduler of one model.

    Args:
        model: a folder in the standard layout, such as `TINY_SD`, or the id of a model on the
            Hugging Face hub, such as `SD_V1_4`, which is downloaded once and cached.
        device: None: `pick_device()`.
        dtype: None: `pick_dtype(device)`.
        variant: None for the weights that suit: those in half precision ("fp16") for float16,
            otherwise the full ones. "fp16" by name halves a download for the CPU, too; the
            numbers are then rounded to half precision, but computed with in `dtype`.
        revision: branch, tag or commit on the hub; None: the usual one.
        attention_slicing: as in `memory.apply_savings`; so for the next three.
        vae_slicing: decode one picture of a batch at a time.
        vae_tiling: decode large pictures tile by tile.
        cpu_offload: keep only the part at work on the GPU.

    Returns:
        The parts, named and in order; the networks in evaluation mode. Only safetensors are
        read, and no code from the hub is run.

    Raises:
        ValueError: if the folder lacks a file or one is truncated (all are named), if the model
            is neither a folder nor an id, or if the device cannot compute in the dtype.
        ModelError: an OSError; if the model can't be downloaded, with what to do.
        torch.OutOfMemoryError: if the device has too little memory, with a note on what helps.
    """
    device = pick_device() if device is None else make_device(device)
    dtype = pick_dtype(device) if dtype is None else dtype
    with explained_memory_errors():
        check_dtype(device, dtype)
    check_offload(device, cpu_offload)  # before anything is fetched
    wanted = HALF if variant is None and dtype == torch.float16 else variant
    try:
        folder = find_model(model, variant=wanted, revision=revision)
    except MissingVariantError:
        if variant is not None:
            raise
        folder = find_model(model, revision=revision)  # half precision was only our idea
    with explained_memory_errors():
        with _hidden_progress_bars():
            parts = _load_parts(folder, dtype, wanted)
        if not cpu_offload:
            for network in parts.networks:
                network.to(device)
    apply_savings(
        parts,
        device,
        attention_slicing=attention_slicing,
        vae_slicing=vae_slicing,
        vae_tiling=vae_tiling,
        cpu_offload=cpu_offload,
    )
    return parts


def _load_parts(folder: Path, dtype: torch.dtype, variant: str | None) -> Components:
    """Load the five parts, each by its own class, on the CPU."""
    import diffusers
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    # diffusers says `dtype` since 0.40, `torch_dtype` before.
    is_new = Version(diffusers.__version__) >= Version("0.40")
    classes = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": AutoencoderKL}
    networks = {}
    for part, network_class in classes.items():
        networks[part], found = network_class.from_pretrained(
            str(folder),
            subfolder=part,
            use_safetensors=True,
            variant=find_variant(folder / part, part, variant),
            output_loading_info=True,
            **{"dtype" if is_new or part == "text_encoder" else "torch_dtype": dtype},
        )
        _check_complete(folder, part, found)
    # Any class reads the file; the class that the file names is then made.
    scheduler_config = PNDMScheduler.load_config(folder, subfolder="scheduler")
    class_name = scheduler_config.get("_class_name")
    scheduler_class = getattr(diffusers, str(class_name), None)
    if scheduler_class is None:
        raise ValueError(
            f"scheduler_config.json of {str(folder)!r} names the class {class_name!r}, which "
            f"diffusers {diffusers.__version__} does not have. It should be one such as "
            "PNDMScheduler."
        )
    return Components(
        tokenizer=CLIPTokenizer.from_pretrained(str(folder), subfolder="tokenizer"),
        **networks,
        scheduler=scheduler_class.from_config(scheduler_config),
    )


def _check_complete(folder: Path, part: str, found: dict) -> None:
    """Raise a ValueError if weights are missing, which would be random numbers otherwise."""
    missing = sorted(found["missing_keys"]) + sorted(map(str, found["mismatched_keys"]))
    if missing:
        raise ValueError(
            f"The {part} in {folder} lacks {len(missing)} of its weights, {missing[0]} first: they "
            "would be random numbers. The file belongs to another class or another version of "
            "the libraries; take the model from its own page again."
        )


def find_model(
    model: str | Path = TINY_SD,
    parts: Sequence[str] = PARTS,
    *,
    variant: str | None = None,
    revision: str | None = None,
) -> Path:
    """Give the folder of a model, looked over; one on the hub is fetched first.

    Args:
        model: a folder in the standard layout, or an id on the Hugging Face hub.
        parts: those whose weights are needed; others are neither fetched nor looked at.
        variant: None or "fp16"; as for `hub.fetch_model`.
        revision: of a model on the hub; a folder has none, and ignores it.

    Raises:
        ValueError: if an argument does not fit, if the folder lacks a file or one is truncated (all
            are named), or if the model is neither a folder nor an id.
        ModelError: if it can't be fetched.
    """
    if not isinstance(model, str | Path) or not str(model):
        raise ValueError(f"model must be a folder or the id of a model, got {model!r}.")
    check_choice(parts, variant)
    folder = Path(model).expanduser()
    if not folder.exists() and isinstance(model, str) and _HUB_ID.fullmatch(model):
        return fetch_model(model, parts, variant=variant, revision=revision)
    problems = find_model_problems(folder, parts, variant)
    if problems:
        raise ValueError(
            f"The model {str(model)!r} cannot be loaded.\n  "
            + "\n  ".join(problems)
            + f"\nGive a folder with {', '.join(PARTS)} inside, or an id such as {SD_V1_4!r}. "
            "The built-in model comes back with a fresh installation of sdhelpers."
        )
    return folder


@contextmanager
def _hidden_progress_bars() -> Iterator[None]:
    """Hide transformers' bar for reading weights, which is over in a blink, and put it back."""
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()

"""Which model, and its five parts, loaded. `pick_device` and `doctor` can be had here, too."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from packaging.version import Version

from sdhelpers.checkup import doctor as doctor
from sdhelpers.device import check_dtype, make_device
from sdhelpers.device import pick_device as pick_device
from sdhelpers.device import pick_dtype as pick_dtype
from sdhelpers.known_models import SD_V1_4
from sdhelpers.known_models import pick_model as pick_model
from sdhelpers.model_folder import PARTS, TINY_SD, find_model_problems

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class Components(NamedTuple):
    """The five parts of Stable Diffusion, in the order in which a prompt meets them."""

    tokenizer: "CLIPTokenizer"
    text_encoder: "CLIPTextModel"
    unet: "UNet2DConditionModel"
    vae: "AutoencoderKL"
    scheduler: "SchedulerMixin"


def load_components(
    model: str | Path = TINY_SD,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Components:
    """Load tokenizer, text encoder, UNet, VAE and scheduler of one model.

    Args:
        model: a folder in the standard layout, such as `TINY_SD`, or the id of a model on the
            Hugging Face hub, such as `SD_V1_4`, which is downloaded once and cached.
        device: None: `pick_device()`.
        dtype: None: `pick_dtype(device)`.

    Returns:
        The parts, named and in order; the networks in evaluation mode. Only safetensors are
        read, and no code from the hub is run.

    Raises:
        ValueError: if the folder lacks a file or one is truncated (all are named), if the model
            is neither a folder nor an id, or if the device cannot compute in the dtype.
        OSError: the libraries' own error if the hub cannot be asked, with a note on what to do.
    """
    device = pick_device() if device is None else make_device(device)
    dtype = pick_dtype(device) if dtype is None else dtype
    check_dtype(device, dtype)
    folder = _find_folder(model)
    if folder is not None:
        with _hidden_progress_bars():
            return _load_parts(str(folder), device, dtype)
    try:
        return _load_parts(str(model), device, dtype)
    except OSError as error:
        error.add_note(
            f"What to do: there is no folder {model!r} here, so it was looked for in the cache, "
            "then on the Hugging Face hub. Check the id, the network, and that HF_HUB_OFFLINE is "
            "not set. The built-in model needs no network: load_components()."
        )
        raise


def _load_parts(model: str, device: torch.device, dtype: torch.dtype) -> Components:
    """Load the five parts, each by its own class."""
    import diffusers
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    # diffusers says `dtype` since 0.40, `torch_dtype` before.
    dtype_name = "dtype" if Version(diffusers.__version__) >= Version("0.40") else "torch_dtype"
    options = {dtype_name: dtype, "use_safetensors": True}
    text_encoder = CLIPTextModel.from_pretrained(
        model, subfolder="text_encoder", dtype=dtype, use_safetensors=True
    )
    unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet", **options)
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae", **options)
    # Any class reads the file; the class that the file names is then made.
    scheduler_config = PNDMScheduler.load_config(model, subfolder="scheduler")
    class_name = scheduler_config.get("_class_name")
    scheduler_class = getattr(diffusers, str(class_name), None)
    if scheduler_class is None:
        raise ValueError(
            f"scheduler_config.json of {model!r} names the class {class_name!r}, which diffusers "
            f"{diffusers.__version__} does not have. It should be one such as PNDMScheduler."
        )
    return Components(
        tokenizer=CLIPTokenizer.from_pretrained(model, subfolder="tokenizer"),
        text_encoder=text_encoder.to(device),
        unet=unet.to(device),
        vae=vae.to(device),
        scheduler=scheduler_class.from_config(scheduler_config),
    )


def _find_folder(model: str | Path) -> Path | None:
    """Give the folder that a model names, checked; None if it is a hub id instead."""
    if not isinstance(model, str | Path) or not str(model):
        raise ValueError(f"model must be a folder or the id of a model, got {model!r}.")
    folder = Path(model).expanduser()
    if not folder.exists() and isinstance(model, str) and _HUB_ID.fullmatch(model):
        return None
    problems = find_model_problems(folder)
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

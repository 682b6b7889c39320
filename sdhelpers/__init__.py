"""Helpers for the notebooks: Stable Diffusion in parts that can be looked at.

Importing the package is free: a name is fetched from its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdhelpers.check import check_close as check_close
    from sdhelpers.installation import doctor as doctor
    from sdhelpers.model.device import pick_device as pick_device
    from sdhelpers.model.device import pick_dtype as pick_dtype
    from sdhelpers.model.folder import TINY_SD as TINY_SD
    from sdhelpers.model.hub import write_size as write_size
    from sdhelpers.model.known import KNOWN_MODELS as KNOWN_MODELS
    from sdhelpers.model.known import SD_V1_4 as SD_V1_4
    from sdhelpers.model.known import pick_model as pick_model
    from sdhelpers.model.loading import find_model as find_model
    from sdhelpers.model.loading import load_components as load_components
    from sdhelpers.model.parts import Components as Components
    from sdhelpers.sampling import denoise as denoise
    from sdhelpers.sampling import generate as generate

__version__ = "0.1.0"

_HOMES = {
    "Components": "model.parts",
    "KNOWN_MODELS": "model.known",
    "SD_V1_4": "model.known",
    "TINY_SD": "model.folder",
    "check_close": "check",
    "denoise": "sampling",
    "doctor": "installation",
    "find_model": "model.loading",
    "generate": "sampling",
    "load_components": "model.loading",
    "pick_device": "model.device",
    "pick_dtype": "model.device",
    "pick_model": "model.known",
    "write_size": "model.hub",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """Fetch a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sdhelpers' has no attribute {name!r}")
    return getattr(import_module(f"sdhelpers.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, for tab completion."""
    return [*__all__, "__version__"]

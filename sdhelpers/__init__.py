"""Helpers for the notebooks: Stable Diffusion in parts that can be looked at.

Importing the package is free: a name is fetched from its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdhelpers.checkup import doctor as doctor
    from sdhelpers.components import TINY_SD as TINY_SD
    from sdhelpers.components import Components as Components
    from sdhelpers.components import find_model as find_model
    from sdhelpers.components import load_components as load_components
    from sdhelpers.device import pick_device as pick_device
    from sdhelpers.device import pick_dtype as pick_dtype
    from sdhelpers.known_models import SD_V1_4 as SD_V1_4
    from sdhelpers.known_models import pick_model as pick_model
    from sdhelpers.sampling import denoise as denoise
    from sdhelpers.sampling import generate as generate

__version__ = "0.1.0"

_HOMES = {
    "Components": "components",
    "SD_V1_4": "known_models",
    "TINY_SD": "components",
    "denoise": "sampling",
    "doctor": "checkup",
    "find_model": "components",
    "generate": "sampling",
    "load_components": "components",
    "pick_device": "device",
    "pick_dtype": "device",
    "pick_model": "known_models",
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

"""Live controls for the notebooks, and their static twins; works with ipywidgets 7.7 and 8.

Each name is fetched from its module when it is first used, so that a slider does not wait for the
networks' libraries. Callbacks set the values of widgets and print nothing: a control can be tested
without a browser, and a page that runs no widgets still shows the picture it was stored with.
"""

from importlib import import_module

# The playground is a house of its own, built on these controls; readers find it here all the same.
_OFFERED = {
    "widgets.picture": ("live_picture", "slider"),
    "widgets.explorer": ("show_trajectory", "trajectory_explorer"),
    "widgets.mixer": ("guidance_mixer", "show_guidance_mix"),
    "widgets.comparison": ("compare", "show_comparison"),
    "playground.page": ("playground",),
    "playground.twin": ("show_playground",),
    "playground.settings": ("read_settings",),
}
_HOMES = {name: f"sdhelpers.{module}" for module, names in _OFFERED.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """Fetch a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sdhelpers.widgets' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, for tab completion."""
    return list(__all__)

"""The playground's controls and its history: widgets without any work behind them."""

from collections.abc import Callable

import ipywidgets

from sdhelpers.painter import Painting
from sdhelpers.playground_state import (
    HIGHEST_GUIDANCE_SCALE,
    HIGHEST_SEED,
    MOST_STEPS,
    Settings,
)
from sdhelpers.schedule import SCHEDULERS

MOST_REMEMBERED = 8  # pictures

_CONTROL_WIDTH = "420px"
_THUMBNAIL_WIDTH = "96px"
# Multiples of the trained side, (height, width).
_SHAPES = ((0.75, 0.75), (1, 1), (1, 1.5), (1.5, 1), (1.5, 1.5))


def make_controls(settings: Settings, trained_side: int) -> dict[str, ipywidgets.Widget]:
    """Make one control for each setting; height and width share one.

    Args:
        settings: the values to start from.
        trained_side: of the pictures that the model was trained for, in pixels.

    Returns:
        Name -> control, in the order of the page. Text and sliders report when Enter is pressed
        or the handle is released, not before.
    """
    late = {"continuous_update": False}
    controls = {
        "prompt": ipywidgets.Text(value=settings.prompt, **late),
        "negative_prompt": ipywidgets.Text(value=settings.negative_prompt, **late),
        "guidance_scale": ipywidgets.FloatSlider(
            value=settings.guidance_scale,
            min=0,
            max=HIGHEST_GUIDANCE_SCALE,
            step=0.1,
            readout_format=".1f",
            **late,
        ),
        "num_inference_steps": ipywidgets.IntSlider(
            value=settings.num_inference_steps, min=1, max=MOST_STEPS, **late
        ),
        "seed": ipywidgets.BoundedIntText(value=settings.seed, min=0, max=HIGHEST_SEED, **late),
        "scheduler": ipywidgets.Dropdown(options=list(SCHEDULERS), value=settings.scheduler),
        "size": ipywidgets.Dropdown(options=_size_options(trained_side)),
    }
    for name, control in controls.items():
        control.description = {"num_inference_steps": "steps"}.get(name, name.replace("_", " "))
        control.style.description_width = "110px"
        control.layout.width, control.layout.max_width = _CONTROL_WIDTH, "100%"
        control.add_class(f"sd-{name.replace('_', '-')}")
    choose_size(controls["size"], settings)
    return controls


def choose_size(control: ipywidgets.Dropdown, settings: Settings) -> None:
    """Set the control of the size, and give it one more entry where it has none that fits."""
    size = (settings.height, settings.width)
    if size not in [value for _, value in control.options]:
        control.options = [*control.options, (_write_size(*size), size)]
    control.value = size


def make_button(name: str, description: str, icon: str, tooltip: str) -> ipywidgets.Button:
    """Make a button with a class of its own."""
    button = ipywidgets.Button(
        description=description, icon=icon, tooltip=tooltip, layout={"width": "82px"}
    )
    button.add_class(f"sd-{name}")
    return button


class History(ipywidgets.Box):
    """The newest pictures, each with a button below it.

    The widgets are made once and filled again and again: a widget that is thrown away stays in
    memory until it is closed.

    Attributes:
        paintings: what is shown, newest first, at most eight.
        buttons: one for each place.
    """

    def __init__(self) -> None:
        self.paintings: list[Painting] = []
        self._pictures = [
            ipywidgets.Image(format="png", layout={"width": _THUMBNAIL_WIDTH})
            for _ in range(MOST_REMEMBERED)
        ]
        self._labels = [ipywidgets.HTML() for _ in range(MOST_REMEMBERED)]
        self.buttons = [
            ipywidgets.Button(description="Restore", layout={"width": _THUMBNAIL_WIDTH})
            for _ in range(MOST_REMEMBERED)
        ]
        places = []
        for place in zip(self._pictures, self._labels, self.buttons, strict=True):
            places.append(ipywidgets.VBox(place, layout={"display": "none"}))
        for number, button in enumerate(self.buttons, start=1):
            button.add_class(f"sd-restore-{number}")
        super().__init__(places, layout={"flex_flow": "row wrap"})
        self.add_class("sd-history")

    def add(self, painting: Painting) -> None:
        """Put a painting first; one with the same settings makes way, then the oldest."""
        others = [one for one in self.paintings if one.settings != painting.settings]
        self.paintings = [painting, *others][:MOST_REMEMBERED]
        for index, shown in enumerate(self.paintings):
            settings = shown.settings
            self._pictures[index].value = shown.png
            self._labels[index].value = (
                f"guidance {settings.guidance_scale:g}<br>{settings.num_inference_steps} steps"
                f"<br>seed {settings.seed}"
            )
            self.buttons[index].tooltip = settings.describe()
            self.children[index].layout.display = "flex"

    def on_pick(self, callback: Callable[[Painting], None]) -> None:
        """Have a function called with the painting whose button is pressed."""
        for button in self.buttons:
            button.on_click(lambda pressed: callback(self.paintings[self.buttons.index(pressed)]))


def _size_options(trained_side: int) -> list[tuple[str, tuple[int, int]]]:
    """List a few sizes around the one that the model was trained for."""
    sizes = [
        (round(trained_side * height), round(trained_side * width)) for height, width in _SHAPES
    ]
    return [(_write_size(*size), size) for size in sizes]


def _write_size(height: int, width: int) -> str:
    """Write a size as people do, the width first."""
    return f"{width} x {height}"

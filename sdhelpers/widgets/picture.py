"""A picture that follows controls: `live_picture`, and the slider that moves it."""

import html
from collections.abc import Callable, Sequence

import ipywidgets
from PIL import Image

from sdhelpers.widgets.panes import (
    CONTROL_WIDTH,
    PICTURE_WIDTH,
    LivePage,
    describe_controls,
    describe_error,
    encode_png,
    make_image,
    make_text,
)
from sdhelpers.widgets.threads import release_cpu_threads

_MOST_REMEMBERED = 256  # pictures

# What a control's function gives: a picture, or a picture and a line of text below it.
Drawn = Image.Image | tuple[Image.Image, str]


class LivePicture(LivePage):
    """A picture with controls above it and a line of text below.

    Attributes:
        controls: name -> ipywidgets control.
        picture: ipywidgets.Image.
        caption: ipywidgets.HTML.
    """

    def __init__(
        self,
        draw: Callable[..., Drawn],
        controls: dict[str, ipywidgets.Widget],
        width: int = PICTURE_WIDTH,
    ) -> None:
        self.draw = draw
        self.controls = controls
        self.picture = make_image("sd-picture", f"{width}px")
        self.caption = make_text("sd-caption")
        self._remembered: dict[tuple, tuple[bytes, str]] = {}
        super().__init__([*controls.values(), self.picture, self.caption])
        self.add_class("sd-live-picture")
        for control in controls.values():
            control.observe(lambda change: self.refresh(), names="value")
        self.refresh()

    def refresh(self) -> None:
        """Draw for the values that the controls have now; an error becomes the caption."""
        values = {name: control.value for name, control in self.controls.items()}
        try:
            encoded, caption = self._draw_once(values)
        except Exception as error:  # shown where the reader looks, not lost in a log
            self.caption.value = describe_error(error)
            return
        finally:
            release_cpu_threads()
        self.picture.value = encoded
        self.caption.value = html.escape(caption)

    def _draw_once(self, values: dict[str, object]) -> tuple[bytes, str]:
        """Give picture and caption, drawn at most once for the same values."""
        key = tuple(values.items())
        if key not in self._remembered:
            drawn = self.draw(**values)
            image, caption = drawn if isinstance(drawn, tuple) else (drawn, "")
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[key] = (encode_png(image), caption)
        return self._remembered[key]

    def describe(self) -> str:
        """Say what can be moved, and where it stands."""
        return describe_controls(self.controls)

    def give_picture(self) -> bytes:
        """Give the present picture as a PNG file."""
        return self.picture.value


def live_picture(
    draw: Callable[..., Drawn],
    *,
    width: int = PICTURE_WIDTH,
    **controls: ipywidgets.Widget | str | bool | Sequence,
) -> LivePicture:
    """Make a picture that follows controls.

    Args:
        draw: called with one keyword for each control; returns a PIL picture, or a picture and a
            line of text. Called once for each combination of values.
        width: of the picture on the page, in pixels.
        controls: name=values for a slider over them, name=text for a text box, name=True or
            False for a checkbox, or a widget of your own, such as `slider(values, start=2)`.

    Returns:
        A widget: make it the last line of a cell to show it.

    Raises:
        ValueError: if there is no control.
    """
    if not controls:
        raise ValueError("live_picture needs at least one control, such as scale=[0, 1, 2].")
    made = {name: _make_control(name, control) for name, control in controls.items()}
    return LivePicture(draw, made, width)


def slider(values: Sequence, start: object = None, description: str = "") -> ipywidgets.Widget:
    """Make a slider over a few values.

    Args:
        values: numbers or texts, in order.
        start: one of them; None: the first.
        description: the label; "": the name that the control gets.

    Returns:
        ipywidgets.SelectionSlider.

    Raises:
        ValueError: if there are no values, or `start` is none of them.
    """
    options = [(_write(value), value) for value in values]
    if not options:
        raise ValueError("A slider needs at least one value.")
    start = options[0][1] if start is None else start
    if start not in values:
        raise ValueError(f"start={start!r} is none of the slider's values {list(values)}.")
    return ipywidgets.SelectionSlider(
        options=options,
        value=start,
        description=description,
        style={"description_width": "initial"},
        layout={"width": CONTROL_WIDTH},
    )


def _make_control(
    name: str, control: ipywidgets.Widget | str | bool | Sequence
) -> ipywidgets.Widget:
    """Make a control from its short form, label it, and give it a class of its own."""
    if isinstance(control, bool):
        control = ipywidgets.Checkbox(value=control, indent=False)
    elif isinstance(control, str):
        control = ipywidgets.Text(
            value=control,
            continuous_update=False,
            style={"description_width": "initial"},
            layout={"width": CONTROL_WIDTH},
        )
    elif not isinstance(control, ipywidgets.Widget):
        control = slider(control)
    control.description = control.description or name.replace("_", " ")
    control.add_class(f"sd-{name.replace('_', '-')}")
    return control


def _write(value: object) -> str:
    """Write a slider's value: numbers short, texts as they are."""
    return f"{value:g}" if isinstance(value, float) else str(value)

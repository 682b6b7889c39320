"""Small pieces that live controls are put together from, and what they have in common."""

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets

from sdhelpers.widgets.threads import release_after_cells

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

CONTROL_WIDTH = "420px"
PICTURE_WIDTH = 320  # pixels on the page, of a picture that stands alone
TWIN_INCHES = 1.35  # width of one picture in a static twin
HIGHEST_GUIDANCE_SCALE = 20.0  # on the sliders; the loop takes any


class LivePage(ipywidgets.VBox):
    """Live controls that leave a picture behind on pages that run no widgets."""

    def __init__(self, children: Sequence[ipywidgets.Widget]) -> None:
        super().__init__(children)
        release_after_cells()  # the cell's thread keeps no cores from the controls'

    def describe(self) -> str:
        """Say what can be moved, and where it stands."""
        raise NotImplementedError

    def give_picture(self) -> bytes:
        """Give the present picture as a PNG file."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Say that this is live, and where it stands."""
        return f"[live in a running notebook: {self.describe()}]"

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, object]:
        """Add the picture. ipywidgets 7 doesn't ask for this, and shows the widget alone."""
        bundle = super()._repr_mimebundle_(**kwargs)
        picture = base64.b64encode(self.give_picture()).decode()
        return bundle | {"text/plain": repr(self), "image/png": picture}


def describe_controls(controls: dict[str, ipywidgets.Widget]) -> str:
    """Say where each control stands."""
    return ", ".join(f"{name} = {control.value}" for name, control in controls.items())


def make_guidance_slider(guidance_scale: float, **options: object) -> ipywidgets.FloatSlider:
    """Make a slider of guidance scales; `options` are those of ipywidgets.FloatSlider."""
    return ipywidgets.FloatSlider(
        value=guidance_scale,
        min=0.0,
        max=HIGHEST_GUIDANCE_SCALE,
        step=0.1,
        readout_format=".1f",
        **options,
    )


def make_image(css_class: str, width: str) -> ipywidgets.Image:
    """Make a place for a picture of a width on the page such as "200px", empty at first."""
    image = ipywidgets.Image(format="png", layout={"width": width})
    image.add_class(css_class)
    return image


def make_text(css_class: str, text: str = "") -> ipywidgets.HTML:
    """Make a line of text; whatever looks like HTML in it stays text."""
    label = ipywidgets.HTML(html.escape(text))
    label.add_class(css_class)
    return label


def make_pane(title: str, css_class: str, *children: ipywidgets.Widget) -> ipywidgets.VBox:
    """Put a title over other widgets; the pane's class is `css_class`, the title's has "-title"."""
    pane = ipywidgets.VBox(
        [make_text(f"{css_class}-title", title), *children],
        layout={"margin": "0 12px 8px 0", "flex": "0 0 auto"},
    )
    pane.add_class(css_class)
    return pane


def make_row(*panes: ipywidgets.Widget) -> ipywidgets.Box:
    """Put widgets side by side; what does not fit goes into the next row."""
    return ipywidgets.Box(panes, layout={"flex_flow": "row wrap", "align_items": "flex-start"})


def encode_png(image: "Image.Image", pnginfo: "PngInfo | None" = None) -> bytes:
    """Give the bytes of a PNG file.

    Args:
        image: any picture.
        pnginfo: text to write beside it; the pixels are the same with and without.
    """
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=pnginfo)
    return buffer.getvalue()


def describe_error(error: BaseException) -> str:
    """Write an error and its notes as HTML, bold; whatever looks like HTML in it stays text."""
    lines = [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]
    text = "<br>".join(map(html.escape, lines))
    return f'<div style="line-height: 1.3"><b>{text}</b></div>'

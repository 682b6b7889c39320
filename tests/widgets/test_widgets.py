"""Live controls, without a browser: set a value, look at the picture and the caption."""

import base64
import io

import ipywidgets
import pytest
from PIL import Image

from sdhelpers.widgets.panes import encode_png
from sdhelpers.widgets.picture import LivePicture, live_picture, slider
from tests.widgets.old_widgets import needs_pictures_beside_widgets


def gray(level: float, prompt: str = "") -> tuple[Image.Image, str]:
    return Image.new("RGB", (4, 4), (int(level),) * 3), f"level {level:g} {prompt}"


def pixel(control: LivePicture) -> tuple[int, int, int]:
    return Image.open(io.BytesIO(control.picture.value)).getpixel((0, 0))


def test_the_picture_follows_the_control() -> None:
    control = live_picture(gray, level=[0, 100, 200])
    assert pixel(control) == (0, 0, 0)
    control.controls["level"].value = 200
    assert pixel(control) == (200, 200, 200)
    assert control.caption.value == "level 200 "


def test_each_combination_is_drawn_once() -> None:
    drawn = []

    def draw(level: float, prompt: str) -> Image.Image:
        drawn.append((level, prompt))
        return gray(level)[0]

    control = live_picture(draw, level=[0, 1], prompt="x")
    for level in (1, 0, 1, 0):
        control.controls["level"].value = level
    control.controls["prompt"].value = "y"
    assert drawn == [(0, "x"), (1, "x"), (0, "y")]


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdhelpers.widgets.picture._MOST_REMEMBERED", 3)
    control = live_picture(gray, level=list(range(10)))
    for level in range(10):
        control.controls["level"].value = level
    assert len(control._remembered) == 3
    assert pixel(control) == (9, 9, 9)


def test_an_error_is_shown_and_the_control_works_again() -> None:
    def draw(level: int) -> Image.Image:
        if level == 1:
            raise ValueError("<b>one</b> is not allowed")
        return gray(level)[0]

    control = live_picture(draw, level=[0, 1, 2])
    control.controls["level"].value = 1
    assert "ValueError: &lt;b&gt;one&lt;/b&gt; is not allowed" in control.caption.value
    assert pixel(control) == (0, 0, 0)
    control.controls["level"].value = 2
    assert pixel(control) == (2, 2, 2)
    assert control.caption.value == ""


def test_text_stays_text() -> None:
    control = live_picture(gray, level=[7], prompt="<img src=x onerror=alert(1)>")
    assert control.caption.value == "level 7 &lt;img src=x onerror=alert(1)&gt;"


@needs_pictures_beside_widgets
def test_pages_without_widgets_get_the_picture() -> None:
    control = live_picture(gray, level=slider([0.5, 50, 90], start=50))
    bundle = control._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == control.picture.value
    assert bundle["text/plain"] == repr(control) == "[live in a running notebook: level = 50]"
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_short_forms_of_controls() -> None:
    def draw(**values: object) -> Image.Image:
        return gray(0)[0]

    own = ipywidgets.IntSlider(value=3, max=5)
    control = live_picture(draw, guidance_scale=[0.0, 7.5], prompt="a cat", is_guided=True, own=own)
    kinds = [type(each) for each in control.controls.values()]
    assert kinds == [
        ipywidgets.SelectionSlider,
        ipywidgets.Text,
        ipywidgets.Checkbox,
        ipywidgets.IntSlider,
    ]
    described = [each.description for each in control.controls.values()]
    assert described == ["guidance scale", "prompt", "is guided", "own"]
    assert "sd-guidance-scale" in control.controls["guidance_scale"]._dom_classes
    assert [label for label, _ in control.controls["guidance_scale"].options] == ["0", "7.5"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: live_picture(gray), "at least one control"),
        (lambda: slider([]), "at least one value"),
        (lambda: slider([1, 2], start=3), "start=3 is none of the slider's values"),
    ],
)
def test_bad_input(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_encode_png_keeps_every_level() -> None:
    image = Image.frombytes("L", (16, 16), bytes(range(256)))
    assert Image.open(io.BytesIO(encode_png(image))).tobytes() == bytes(range(256))

"""Live pictures and the face, without a browser: set a value, look at the picture and the text."""

import base64
import subprocess
import sys

import ipywidgets
import numpy as np
import pytest
from PIL import Image

from sdhelpers import widgets
from sdhelpers.widgets.panes import encode_png
from sdhelpers.widgets.picture import LivePicture, live_picture, slider
from tests.runs import ESCAPED, NASTY, look_at
from tests.widgets.old_widgets import needs_pictures_beside_widgets

LOADED = """
import sys
from sdhelpers import widgets

def loaded(*names):
    return [name for name in names if {name, f"sdhelpers.{name}"} & set(sys.modules)]

assert not loaded("torch", "ipywidgets", "widgets.picture")
widgets.live_picture, widgets.slider
assert not loaded("torch", "diffusers", "sampling", "widgets.explorer", "playground.page")
assert widgets.trajectory_explorer.__module__ == "sdhelpers.widgets.explorer"
assert not loaded("sampling", "widgets.comparison", "playground.page")
"""


def gray(level: float, prompt: str = "") -> tuple[Image.Image, str]:
    return Image.new("RGB", (4, 4), (int(level),) * 3), f"level {level:g} {prompt}"


def level(control: LivePicture) -> int:
    (level,) = set(look_at(control.picture).ravel().tolist())
    return level


def test_the_picture_follows_the_control() -> None:
    control = live_picture(gray, level=[0, 100, 200])
    assert level(control) == 0
    control.controls["level"].value = 200
    assert level(control) == 200
    assert control.caption.value == "level 200 "


def test_each_combination_is_drawn_once_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(level: float, prompt: str) -> Image.Image:
        drawn.append((level, prompt))
        return gray(level)[0]

    control = live_picture(draw, level=[0, 1, 2, 3, 4], prompt="x")
    for number in (1, 0, 1, 0):
        control.controls["level"].value = number
    control.controls["prompt"].value = "y"
    assert drawn == [(0, "x"), (1, "x"), (0, "y")]
    monkeypatch.setattr("sdhelpers.widgets.picture._MOST_REMEMBERED", 3)
    for number in (2, 3, 4):
        control.controls["level"].value = number
        assert level(control) == number
    assert len(control._remembered) == 3


def test_an_error_is_shown_and_the_control_works_again() -> None:
    def draw(level: int) -> Image.Image:
        if level == 1:
            raise ValueError(f"{NASTY} is not allowed")
        return gray(level)[0]

    control = live_picture(draw, level=[0, 1, 2])
    control.controls["level"].value = 1
    assert f"ValueError: {ESCAPED} is not allowed" in control.caption.value
    assert level(control) == 0
    control.controls["level"].value = 2
    assert level(control) == 2
    assert control.caption.value == ""


def test_text_stays_text() -> None:
    control = live_picture(gray, level=[7], prompt=NASTY)
    assert control.caption.value == f"level 7 {ESCAPED}"


@needs_pictures_beside_widgets
def test_pages_without_widgets_get_the_picture() -> None:
    control = live_picture(gray, level=slider([0.5, 50, 90], start=50))
    bundle = control._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == control.picture.value
    assert bundle["text/plain"] == repr(control) == "[live in a running notebook: level = 50]"
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_short_forms_of_controls() -> None:
    own = ipywidgets.IntSlider(value=3, max=5)
    control = live_picture(
        lambda **values: gray(0),
        guidance_scale=[0.0, 7.5],
        prompt="a cat",
        is_guided=True,
        own=own,
    )
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
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown = ipywidgets.Image(value=encode_png(Image.fromarray(levels)))
    np.testing.assert_array_equal(look_at(shown), levels)


def test_nothing_is_loaded_until_it_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", LOADED], check=True)
    assert widgets.playground.__module__ == "sdhelpers.playground.page"
    assert {"compare", "guidance_mixer", "playground", "slider"} <= set(dir(widgets))
    assert not [name for name in dir(widgets) if name.startswith("_")]
    with pytest.raises(AttributeError, match="no attribute 'playgrounds'"):
        _ = widgets.playgrounds

"""The comparison and its static twin: each cell is what generate paints for its settings."""

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from sdhelpers import generate, sampling
from sdhelpers.model.parts import Components
from sdhelpers.widgets import compare, comparison
from sdhelpers.widgets.settings_grid import make_settings_grid, paint_cell
from tests.conftest import PROMPT
from tests.runs import ESCAPED, NASTY, look_at
from tests.widgets.old_widgets import IS_OLD


def gray(components: object, settings: dict) -> Image.Image:
    """Paint without a model: the seed is the level."""
    return Image.new("RGB", (8, 8), (settings["seed"],) * 3)


@pytest.fixture
def without_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "paint_cell", gray)


def test_every_cell_is_what_generate_paints(components: Components) -> None:
    rows, columns = {"guidance_scale": [1, 7.5]}, {"scheduler": ["DDIM", "K-LMS"]}
    settings = {"seed": 3, "num_inference_steps": 2, "height": 64, "width": 64}
    shown = compare(components, rows, columns, prompt=PROMPT, **settings)
    shown.run()
    painted = set()
    for row, guidance_scale in enumerate(rows["guidance_scale"]):
        for column, scheduler in enumerate(columns["scheduler"]):
            settings |= {"guidance_scale": guidance_scale, "scheduler": scheduler}
            (expected,) = generate(components, PROMPT, show_progress=False, **settings)
            np.testing.assert_array_equal(look_at(shown.pictures[row][column]), expected)
            assert shown.images[row][column].tobytes() == expected.tobytes()
            painted.add(expected.tobytes())
    assert len(painted) == 4


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("guidance_scale", [1, 2]),
        ("num_inference_steps", [1, 2]),
        ("scheduler", ["DDIM", "Euler"]),
        ("seed", [0, 1]),
        ("prompt", ["a cat", "a dog"]),
    ],
)
def test_all_start_from_the_same_noise_unless_the_seed_is_an_axis(
    components, monkeypatch, axis: str, values: list
) -> None:
    started = []

    def keep(unet, scheduler, latents, *rest, **options):
        started.append(latents)
        raise RuntimeError("that was all")

    monkeypatch.setattr(sampling, "_walk_plan", keep)
    other = {"guidance_scale": [1]} if axis == "prompt" else {"prompt": ["a cat"]}
    compare(components, {axis: values}, other, height=64, width=64).run()
    first, second = started
    assert torch.equal(first, second) == (axis != "seed")


def test_cells_fill_as_they_finish(monkeypatch) -> None:
    seen = []

    def paint(components: object, settings: dict) -> Image.Image:
        painted = [image is not None for row in shown.images for image in row]
        seen.append((sum(painted), shown.progress.value, shown.status.value))
        return gray(components, settings)

    monkeypatch.setattr(comparison, "paint_cell", paint)
    shown = compare(None, {"seed": [10, 20]}, {"guidance_scale": [1, 2]}, prompt="x")
    waiting = look_at(shown.pictures[1][1])
    assert len(np.unique(waiting.reshape(-1, 3), axis=0)) == 1
    shown.run()
    assert seen == [(count, count, f"{count} of 4 pictures") for count in range(4)]
    assert shown.progress.value == shown.progress.max == 4
    assert shown.status.value == "4 of 4 pictures"
    assert [look_at(shown.pictures[row][0])[0, 0, 0] for row in (0, 1)] == [10, 20]


def test_a_cell_that_fails_shows_its_error_and_the_others_go_on(components) -> None:
    shown = compare(
        components,
        rows={"scheduler": ["DDIM", "<b>none</b>"]},
        columns={"num_inference_steps": [0, 1]},
        prompt=PROMPT,
        height=64,
        width=64,
    )
    shown.run()
    messages = [[message.value for message in row] for row in shown.messages]
    assert "<b>ValueError: num_inference_steps must be an integer" in messages[0][0]
    assert messages[0][1] == ""
    for message in messages[1]:
        assert "Unknown scheduler &#x27;&lt;b&gt;none&lt;/b&gt;&#x27;" in message
    painted = [[image is not None for image in row] for row in shown.images]
    assert painted == [[False, True], [False, False]]
    assert shown.status.value == "4 of 4 pictures, 3 failed"


def test_an_interrupted_comparison_goes_on_where_it_was(monkeypatch) -> None:
    painted = []

    def paint(components: object, settings: dict) -> Image.Image:
        if settings["seed"] == 2 and 2 not in painted:
            painted.append(2)
            raise KeyboardInterrupt
        painted.append(settings["seed"])
        return gray(components, settings)

    monkeypatch.setattr(comparison, "paint_cell", paint)
    shown = compare(None, {"seed": [1, 2, 3]}, {"guidance_scale": [1]}, prompt="x")
    with pytest.raises(KeyboardInterrupt):
        shown.run()
    assert shown.progress.value == 1
    shown.run()
    assert painted == [1, 2, 2, 3]
    assert shown.progress.value == 3


@pytest.mark.usefixtures("without_model")
def test_labels_are_escaped() -> None:
    shown = compare(None, {"prompt": [NASTY, "a cat"]}, {"seed": [1, 2]})
    grid = shown.children[1]
    labels = [child.value for child in grid.children if "sd-comparison-label" in child._dom_classes]
    assert labels == ["seed 1", "seed 2", ESCAPED, "a cat"]
    assert len(grid.children) == 3 * 3


@pytest.mark.usefixtures("without_model")
def test_showing_it_paints_it_once(monkeypatch) -> None:
    published = []

    def publish(bundle: dict, **options: object) -> None:
        published.append((bundle["text/plain"], shown.progress.value))

    publisher = ipywidgets.widgets.widget if IS_OLD else comparison
    monkeypatch.setattr(publisher, "display", publish)
    shown = compare(None, {"seed": [1, 2]}, {"guidance_scale": [1.5]}, prompt="x")
    shown._ipython_display_()
    text = "[live in a running notebook: seed 1, seed 2 by guidance 1.5]"
    assert published == [(text, 0)]  # the empty grid comes first
    assert shown.progress.value == 2
    monkeypatch.setattr(comparison, "paint_cell", None)
    shown._ipython_display_()  # nothing left to paint
    assert not any(message.value for row in shown.messages for message in row)


@pytest.mark.usefixtures("no_window")
def test_the_twin_shows_the_same_pictures(components) -> None:
    prompts = ["a cat for $5 or $6", NASTY]
    comparison.show_comparison(
        components, {"prompt": prompts}, {"num_inference_steps": [1, 0]}, height=64, width=64
    )
    axes = plt.gcf().axes
    assert [axis.get_title().replace("\n", " ") for axis in axes] == [
        "1 step",
        "0 steps",
        "",
        "",
    ]
    assert [axis.get_ylabel().replace("\n", " ") for axis in axes[::2]] == [
        "a cat for $5 or $6",
        NASTY,
    ]
    for axis, prompt in zip(axes[::2], prompts, strict=True):
        settings = {"prompt": prompt, "num_inference_steps": 1, "height": 64, "width": 64}
        np.testing.assert_array_equal(axis.images[0].get_array(), paint_cell(components, settings))
    errors = [text.get_text() for axis in axes[1::2] for text in axis.texts]
    assert len(errors) == 2
    assert all(text.startswith("ValueError:") for text in errors)
    plt.gcf().canvas.draw()


@pytest.mark.parametrize(
    ("rows", "columns", "settings", "message"),
    [
        ({"seed": [1]}, {"seed": [2]}, {}, "must differ, both are 'seed'"),
        ({"sigma": [1]}, {"seed": [2]}, {}, "rows must name one of guidance_scale"),
        ({"seed": [1], "prompt": ["x"]}, {"seed": [2]}, {}, "rows must name one of"),
        ("seed", {"seed": [2]}, {}, "rows must name one of"),
        ({"seed": [1]}, {}, {}, "columns must name one of"),
        ({"seed": []}, {"prompt": ["x"]}, {}, "rows: seed needs a list of one value or more"),
        ({"seed": [1]}, {"prompt": "cat"}, {}, "columns: prompt needs a list.*got 'cat'"),
        ({"seed": 1}, {"prompt": ["x"]}, {}, "rows: seed needs a list"),
        ({"seed": [1]}, {"guidance_scale": [1]}, {}, "needs a prompt"),
        ({"seed": [1]}, {"prompt": ["x"]}, {"seed": 1}, "seed is given twice"),
        ({"seed": [1]}, {"prompt": ["x"]}, {"steps": 1}, "Unknown setting 'steps'"),
    ],
)
def test_bad_input(rows, columns, settings, message: str) -> None:
    for make in (make_settings_grid, lambda *axes, **rest: compare(None, *axes, **rest)):
        with pytest.raises(ValueError, match=message):
            make(rows, columns, **settings)


def test_a_range_is_an_axis() -> None:
    grid = make_settings_grid({"seed": range(2)}, {"scheduler": [None, "DDIM"]}, prompt="x")
    assert grid.row_labels == ["seed 0", "seed 1"]
    assert grid.column_labels == ["own", "DDIM"]
    assert grid.num_cells == 4
    assert [cell["seed"] for row in grid.cells for cell in row] == [0, 0, 1, 1]
    assert {cell["guidance_scale"] for row in grid.cells for cell in row} == {7.5}

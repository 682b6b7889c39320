"""The trajectory explorer and its static twin: every pane against the values of its step."""

import gc
import html
import random
import threading

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from sdhelpers.images import tensor_to_images
from sdhelpers.latents import decode_latents, latents_to_rgb
from sdhelpers.model.parts import Components
from sdhelpers.show.charts import figure_to_image
from sdhelpers.steps import measure_run, pick_picture, unit_latents
from sdhelpers.widgets import frames as frames_module
from sdhelpers.widgets.explorer import TrajectoryExplorer, show_trajectory, trajectory_explorer
from sdhelpers.widgets.frames import (
    Frame,
    draw_run_curves,
    frame_to_image,
    make_frames,
    save_trajectory_gif,
)
from sdhelpers.widgets.panes import encode_png
from tests.runs import count_calls, look_at, make_run

pytestmark = pytest.mark.usefixtures("no_window")


@pytest.fixture(scope="module")
def frames(components: Components, steps, preview) -> list[Frame]:
    return make_frames(steps, components.vae, preview=preview)


@pytest.fixture
def explorer(frames) -> TrajectoryExplorer:
    return TrajectoryExplorer(frames, milliseconds=100)


def cells(image: Image.Image, size: int) -> np.ndarray:
    """Give one pixel for each cell of an enlarged picture, which must be made of whole cells."""
    pixels = np.asarray(image)
    factor = pixels.shape[0] // size
    small = pixels[::factor, ::factor]
    np.testing.assert_array_equal(small.repeat(factor, 0).repeat(factor, 1), pixels)
    return small


def test_the_preview_is_that_of_the_latents_as_the_unet_sees_them(
    components, steps, frames, preview
) -> None:
    """For K-LMS these are what scale_model_input gives, for DDIM the latents themselves."""
    (of_ddim,) = make_run(components, num_inference_steps=1, scheduler="DDIM")
    torch.testing.assert_close(unit_latents(of_ddim), of_ddim.latents)
    for step, frame in zip(steps, frames, strict=True):
        scaled = step.latents / (step.sigma**2 + 1) ** 0.5
        (expected,) = tensor_to_images(latents_to_rgb(scaled, preview))
        np.testing.assert_array_equal(cells(frame.latents, expected.height), expected)


def test_the_clean_guess_is_decoded(components, steps, frames) -> None:
    for step, frame in zip(steps, frames, strict=True):
        (expected,) = tensor_to_images(decode_latents(components.vae, step.pred_original_sample))
        # One by one or in a batch, the decoder's last bits differ, and seldom a level.
        difference = np.asarray(frame.clean_guess).astype(int) - np.asarray(expected)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("name", ["noise_pred", "guidance_difference"])
def test_maps_show_four_channels_on_one_scale(steps, frames, name: str) -> None:
    values = {
        "noise_pred": [step.noise_pred for step in steps],
        "guidance_difference": [step.noise_pred_text - step.noise_pred_uncond for step in steps],
    }[name]
    limit = 3 * torch.cat(values).square().mean().sqrt().item()
    colours = matplotlib.colormaps["RdBu_r"]
    side = 2 * values[0].shape[-1]
    for value, frame in zip(values, frames, strict=True):
        first, second, third, fourth = value[0].numpy()
        expected = np.vstack([np.hstack([first, second]), np.hstack([third, fourth])])
        expected = colours(expected / limit / 2 + 0.5, bytes=True)[..., :3]
        difference = cells(getattr(frame, name), side).astype(int) - expected
        assert np.abs(difference).max() <= 6  # one entry of a map of 256 colours


def test_the_curves_are_the_norms(steps) -> None:
    sizes = measure_run(steps)
    names = ["latents", "clean guess", "noise prediction", "guidance difference", "sigma"]
    for index, step in enumerate(steps):
        difference = step.noise_pred_text - step.noise_pred_uncond
        tensors = [step.latents, step.pred_original_sample, step.noise_pred, difference]
        norms = [(tensor.norm() / tensor.numel() ** 0.5).item() for tensor in tensors]
        measured = [values[index] for values in sizes.values()]
        assert measured == pytest.approx([*norms, step.sigma], rel=1e-5)
    lines = draw_run_curves(steps).axes[0].lines
    assert [line.get_label() for line in lines] == list(sizes) == names
    for line, values in zip(lines, sizes.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), values)
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])


def test_the_marker_stands_where_matplotlib_would_draw_it(steps, frames) -> None:
    def draw(*marks: int) -> np.ndarray:
        figure = draw_run_curves(steps, frames_module._CURVES_INCHES)
        limits = figure.axes[0].get_xlim()
        for mark in marks:
            figure.axes[0].axvline(mark, color="black", linewidth=1)
        figure.axes[0].set_xlim(limits)
        return np.asarray(figure_to_image(figure, frames_module._CURVES_DOTS)).astype(int)

    plain = draw()
    columns = []
    for index, frame in enumerate(frames):
        line = np.abs(draw(index + 1) - plain).sum((0, 2))
        marker = np.abs(np.asarray(frame.curves).astype(int) - plain).sum((0, 2))
        places = np.arange(len(line))
        assert abs(np.average(places, weights=line) - np.average(places, weights=marker)) < 1
        assert (marker > 0).sum() <= 3
        columns.append(marker.argmax())
    assert len(set(columns)) == len(frames)


def test_moving_shows_every_pane_and_asks_nothing_of_the_model(components, steps, preview) -> None:
    with count_calls(components) as called:
        explorer = trajectory_explorer(steps, components.vae, preview=preview)
        assert called == ["decoder"]  # all at once, and the counter counts
        seen = set()
        for place in (4, 3, 2, 1):
            explorer.slider.value = place
            frame = explorer.frames[place - 1]
            for name, noise in [
                ("noise prediction", frame.noise_pred),
                ("guidance difference", frame.guidance_difference),
            ]:
                explorer.shown_noise.value = name
                np.testing.assert_array_equal(look_at(explorer.images["noise"]), noise)
                seen.add(explorer.images["noise"].value)
            np.testing.assert_array_equal(look_at(explorer.images["latents"]), frame.latents)
            np.testing.assert_array_equal(look_at(explorer.images["channels"]), frame.channels)
            np.testing.assert_array_equal(
                look_at(explorer.images["clean-guess"]), frame.clean_guess
            )
            np.testing.assert_array_equal(look_at(explorer.images["curves"]), frame.curves)
            assert explorer.caption.value == html.escape(frame.caption) == explorer.describe()
            assert explorer.give_picture() == encode_png(frame_to_image(frame))
        explorer.to_gif()
    assert called == ["decoder"]
    assert len(seen) == 8
    assert explorer.describe().startswith("step 1 of 4, timestep ")


def test_many_moves_leave_nothing_behind(explorer) -> None:
    chance = random.Random(0)
    objects = len(gc.get_objects())
    threads = threading.active_count()
    for _ in range(200):
        explorer.slider.value = chance.randint(1, 4)
        explorer.shown_noise.value = chance.choice(explorer.shown_noise.options)
    gc.collect()
    assert threading.active_count() == threads
    assert len(gc.get_objects()) - objects < 2000


def test_the_controls(explorer) -> None:
    source, target = explorer._link.source, explorer._link.target
    assert (source, target) == ((explorer.play, "value"), (explorer.slider, "value"))
    assert explorer.play.interval == 100
    for control in (explorer.play, explorer.slider):
        assert (control.min, control.max, control.value) == (1, 4, 1)
    others = [explorer.shown_noise, explorer.file_name, explorer.save_button]
    controls = [explorer.play, explorer.slider, *others]
    assert all(control.description for control in controls)
    classes = {name for control in controls for name in control._dom_classes}
    assert len([name for name in classes if name.startswith("sd-explorer-")]) == len(controls)


def test_a_run_of_one_prediction_shows_no_difference(components, preview) -> None:
    run = make_run(components, num_inference_steps=2, guidance_scale=1.0)
    explorer = trajectory_explorer(run, components.vae, preview=preview)
    assert explorer.shown_noise.options == ("noise prediction",)
    assert "guidance difference" not in measure_run(run)
    explorer.slider.value = 2
    np.testing.assert_array_equal(look_at(explorer.images["noise"]), explorer.frames[1].noise_pred)


def test_one_picture_of_a_batch(components, preview) -> None:
    run = make_run(components, num_inference_steps=1, batch_size=2)
    (second,) = pick_picture(run, 1)
    assert torch.equal(second.latents, run[0].latents[1:])
    assert torch.equal(second.pred_original_sample, run[0].pred_original_sample[1:])
    first, other = (
        make_frames(run, components.vae, preview=preview, picture=picture)[0] for picture in (0, 1)
    )
    assert first.latents.tobytes() != other.latents.tobytes()
    (expected,) = tensor_to_images(latents_to_rgb(unit_latents(second), preview))
    np.testing.assert_array_equal(cells(other.latents, expected.height), expected)


def test_the_gif_has_every_step(explorer, tmp_path) -> None:
    path = tmp_path / "run.gif"
    explorer.save_gif(path)
    assert path.read_bytes() == explorer.to_gif()
    with Image.open(path) as animation:
        durations = [page.info["duration"] for page in ImageSequence.Iterator(animation)]
        pages = [np.asarray(page.convert("RGB")) for page in ImageSequence.Iterator(animation)]
        assert animation.info["loop"] == 0
    assert durations == [100, 100, 100, 800]
    assert len({page.tobytes() for page in pages}) == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.gif"]


def test_the_button_saves_or_says_why_not(explorer, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "<b>.gif"
    explorer.file_name.value = path.name
    explorer.save_button.click()
    assert explorer.message.value == "saved &lt;b&gt;.gif"
    saved = path.read_bytes()

    def fail(frame: Frame) -> Image.Image:
        raise MemoryError("too many pixels")

    with monkeypatch.context() as broken:
        broken.setattr(frames_module, "frame_to_image", fail)
        explorer.save_button.click()
    assert "MemoryError: too many pixels" in explorer.message.value
    assert path.read_bytes() == saved, "a failed save keeps the old file"
    explorer.file_name.value = "<i>/run.gif"
    explorer.save_button.click()
    assert "ValueError: There is no folder &#x27;&lt;i&gt;&#x27;" in explorer.message.value
    assert list(tmp_path.iterdir()) == [path]


def test_the_twin_shows_the_same_pictures(components, steps, frames, preview) -> None:
    with count_calls(components) as called:
        show_trajectory(steps, components.vae, preview=preview, num_columns=2)
    assert called == ["decoder"]
    strip, curves = map(plt.figure, plt.get_fignums())
    assert [axis.get_ylabel() for axis in strip.axes[::2]] == [
        "latents",
        "channels",
        "clean guess",
        "noise prediction",
        "text - uncond",
    ]
    pictures = [np.asarray(axis.images[0].get_array()) for axis in strip.axes]
    ends = [frames[0], frames[3]]
    np.testing.assert_array_equal(pictures[0], ends[0].latents)
    np.testing.assert_array_equal(pictures[3], ends[1].channels)
    np.testing.assert_array_equal(pictures[6], ends[0].noise_pred)
    np.testing.assert_array_equal(pictures[9], ends[1].guidance_difference)
    assert np.abs(pictures[5].astype(int) - np.asarray(ends[1].clean_guess)).max() <= 1
    assert strip.axes[1].get_title().startswith("step 4")
    assert len(curves.axes[0].lines) == 5


def test_bad_input(components, steps, frames, tmp_path) -> None:
    vae = components.vae
    wrong = [
        (lambda: trajectory_explorer([], vae), "stored run.*an empty one"),
        (lambda: trajectory_explorer(iter(steps), vae), "list\\(denoise"),
        (lambda: trajectory_explorer([steps[0], None], vae), "stored run"),
        (lambda: trajectory_explorer(steps, vae, picture=1), "from 0 to 0, got 1"),
        (lambda: trajectory_explorer(steps, vae, milliseconds=0), "positive integer, got 0"),
        (lambda: show_trajectory(steps, vae, num_columns=0), "num_columns must be"),
        (lambda: frames_module.make_trajectory_gif([]), "0 frames"),
        (lambda: save_trajectory_gif(tmp_path / "run.png", frames), "ends in .gif"),
        (lambda: save_trajectory_gif(tmp_path, frames), "ends in .gif"),
        (lambda: save_trajectory_gif(tmp_path / "no" / "run.gif", frames), "no folder"),
    ]
    with count_calls(components) as called:
        for call, message in wrong:
            with pytest.raises(ValueError, match=message):
                call()
    assert not called
    assert not list(tmp_path.iterdir())

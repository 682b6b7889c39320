"""The playground without a browser: set values, wait for the worker, look at the widgets."""

import ctypes
import gc
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import ipywidgets
import numpy as np
import psutil
import pytest
import torch

from sdhelpers import generate
from sdhelpers.guidance import join_embeddings
from sdhelpers.images import tensor_to_image
from sdhelpers.latents import fit_linear_preview, initial_latents, latents_to_rgb, make_generator
from sdhelpers.model.parts import Components
from sdhelpers.playground.page import Playground, playground
from sdhelpers.playground.painter import NUM_PREVIEW_IMAGES
from sdhelpers.playground.settings import Settings, read_settings
from sdhelpers.sampling import denoise
from sdhelpers.schedule import SCHEDULERS, make_scheduler
from sdhelpers.text import PromptTooLongWarning, encode_prompt
from tests.conftest import PROMPT
from tests.fake_model import PATIENCE
from tests.playground.test_settings import make_png
from tests.runs import ESCAPED, NASTY, look_at
from tests.widgets.old_widgets import IS_OLD

MOST_GROWTH = 1e6  # bytes in 200 moves


def move(play: Playground, **values: object) -> None:
    """Set controls, and wait for the picture."""
    for name, value in values.items():
        play.controls[name].value = value
    assert play.wait(PATIENCE)


def press(play: Playground, name: str) -> None:
    """Press a button, and wait for the picture."""
    play.view.buttons[name].click()
    assert play.wait(PATIENCE)


def begin(play: Playground, fake: Components, **values: object) -> None:
    """Set controls, and hold the UNet in its first call."""
    fake.unet.close_gate()
    for name, value in values.items():
        play.controls[name].value = value
    fake.unet.wait_for_call()


def check_picture(components: Components, play: Playground) -> None:
    """Compare what is shown with what `generate` paints for the settings of the controls."""
    (expected,) = generate(components, show_progress=False, **vars(play.view.settings))
    np.testing.assert_array_equal(look_at(play.picture), expected)


def upload(play: Playground, content: bytes) -> None:
    """Do what a browser does with a file that the reader chose."""
    file = {"name": "x.png", "type": "image/png", "size": len(content)}
    if IS_OLD:
        play.view.load.set_trait("value", {"x.png": {"metadata": file, "content": content}})
    else:
        play.view.load.value = (file | {"content": content, "last_modified": datetime.now(UTC)},)


@pytest.mark.parametrize(
    "options",
    [
        {"height": None, "width": None},
        {"guidance_scale": 1.0, "scheduler": "Euler", "width": 96},
        {"guidance_scale": 0.0, "scheduler": "DDIM", "height": 72, "width": 88},
        {"negative_prompt": "a house", "seed": 9, "scheduler": "DPM-Solver++"},
        {"prompt": "a car " * 50, "scheduler": "K-LMS"},
    ],
)
def test_the_picture_is_that_of_generate(
    components: Components, make: Callable, options: dict
) -> None:
    play = make(components=components, **({"num_inference_steps": 2} | options))
    with pytest.warns(PromptTooLongWarning) if "prompt" in options else nullcontext():
        check_picture(components, play)
    assert play.view.error.value == ""


def test_each_step_shows_its_clean_guess(components: Components, make: Callable) -> None:
    play = make(components=components, scheduler="K-LMS")
    seen = []
    play.view.caption.observe(
        lambda change: seen.append((change["new"], look_at(play.picture))), names="value"
    )
    move(play, seed=4)
    assert len(seen) == 1 + 3 + 1, "waiting, three steps, the picture"

    tokenizer, text_encoder, unet, vae, own_scheduler = components
    preview = fit_linear_preview(vae, num_images=NUM_PREVIEW_IMAGES)
    text_embeddings, uncond_embeddings = encode_prompt(tokenizer, text_encoder, PROMPT)
    steps = denoise(
        unet,
        make_scheduler("K-LMS", own_scheduler.config),
        initial_latents(unet, vae, make_generator(4), height=64, width=64),
        join_embeddings(uncond_embeddings, text_embeddings),
        num_inference_steps=3,
        guidance_scale=7.5,
    )
    for step, (caption, shown) in zip(steps, seen[1:-1], strict=True):
        clean_guess = latents_to_rgb(step.pred_original_sample, preview)
        expected = np.asarray(tensor_to_image(clean_guess), dtype=int)
        # One level of 256 is rounding: the playground's thread adds in another order.
        np.testing.assert_allclose(shown, expected, rtol=0, atol=1)
        assert caption.startswith(f"Step {step.index + 1} of 3 · sigma {step.sigma:.2f} · ")
        assert caption.endswith(" s")
    assert seen[-1][0].startswith(
        f"&quot;{PROMPT}&quot; · guidance 7.5 · 3 steps of K-LMS · seed 4"
    )


def test_every_control_changes_the_picture(fake: Components, make: Callable) -> None:
    play = make()
    seen = [look_at(play.picture).tobytes()]
    changes = {
        "prompt": "a boat",
        "negative_prompt": "a house",
        "guidance_scale": 2.0,
        "num_inference_steps": 5,
        "seed": 1,
        "scheduler": "Euler",
        "size": (96, 96),
    }
    assert list(changes) == list(play.controls)
    for name, value in changes.items():
        move(play, **{name: value})
        check_picture(fake, play)
        seen.append(look_at(play.picture).tobytes())
    assert len(set(seen)) == len(play.history.paintings) == 8


def test_ten_quick_changes_paint_only_the_last(fake: Components, make: Callable) -> None:
    play = make()
    calls = fake.unet.num_calls
    begin(play, fake, num_inference_steps=20)
    for guidance_scale in range(10):
        play.controls["guidance_scale"].value = guidance_scale
    assert fake.unet.num_calls == calls + 1, "the changes came back while the UNet was at work"
    fake.unet.open_gate()
    assert play.wait(PATIENCE)
    assert fake.unet.num_calls == calls + 1 + 21, "one call thrown away, then PNDM's 21"
    assert threading.get_ident() not in fake.unet.threads
    check_picture(fake, play)
    assert [one.settings.guidance_scale for one in play.history.paintings] == [9, 7.5]


def test_of_two_threads_that_move_the_newest_wins(fake: Components, make: Callable) -> None:
    """JupyterLab sends what widgets say to two threads of the kernel."""
    play = make(num_inference_steps=1)

    def move_often(name: str, values: list) -> None:
        for value in values:
            play.controls[name].value = value

    movers = [
        threading.Thread(target=move_often, args=("seed", list(range(1, 31)))),
        threading.Thread(target=move_often, args=("guidance_scale", [n / 10 for n in range(30)])),
    ]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join(PATIENCE)
    assert play.wait(PATIENCE)
    assert (play.painting.settings.seed, play.painting.settings.guidance_scale) == (30, 2.9)
    assert play.painting.settings == play.view.settings == play.history.paintings[0].settings
    check_picture(fake, play)


def test_callbacks_take_turns(make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    play = make()
    gate, is_in, turns = threading.Event(), threading.Event(), []
    prepare = play._prepare

    def prepare_slowly(settings: Settings) -> object:
        turns.append("in")
        is_in.set()
        assert gate.wait(PATIENCE)
        turns.append("out")
        return prepare(settings)

    monkeypatch.setattr(play, "_prepare", prepare_slowly)
    mover = threading.Thread(target=lambda: setattr(play.controls["seed"], "value", 5))
    painter = threading.Thread(target=play.view.buttons["paint"].click)
    mover.start()
    assert is_in.wait(PATIENCE)
    painter.start()
    painter.join(0.1)
    assert turns == ["in"]
    gate.set()
    for thread in (mover, painter):
        thread.join(PATIENCE)
    assert turns == ["in", "out"] * 2
    assert play.wait(PATIENCE)
    assert "seed 5 " in play.view.caption.value


def test_stop_says_where_and_leaves_a_clean_state(fake: Components, make: Callable) -> None:
    play = make()
    before = threading.active_count()
    begin(play, fake, num_inference_steps=100)
    play.view.buttons["stop"].click()
    assert play.view.caption.value == "Stopped before the first step."
    calls = fake.unet.num_calls
    fake.unet.open_gate()
    assert play.wait(PATIENCE)
    assert fake.unet.num_calls == calls
    assert threading.active_count() == before
    assert play.painting is None
    assert len(play.history.paintings) == 1
    press(play, "stop")  # there is nothing to stop
    assert play.view.caption.value == "Stopped before the first step."

    def stop_at_two(change: dict) -> None:
        if change["new"].startswith("Step 2 "):
            fake.unet.close_gate()

    play.view.caption.observe(stop_at_two, names="value")
    play.controls["num_inference_steps"].value = 50
    fake.unet.wait_for_call()
    play.view.buttons["stop"].click()
    assert play.view.caption.value.startswith("Stopped after step 2 of 51 · sigma ")
    fake.unet.open_gate()
    assert play.wait(PATIENCE)
    play.view.caption.unobserve_all()
    is_stopped_late = []

    def stop_at_the_end(change: dict) -> None:
        if " · seed " in change["new"]:
            was_busy = play._runner.is_busy
            play._stop()  # not by the button, which swallows errors
            is_stopped_late.append(was_busy)

    play.view.caption.observe(stop_at_the_end, names="value")
    move(play, num_inference_steps=1)
    assert is_stopped_late == [True]
    assert "1 step of PNDM" in play.view.caption.value, "a picture that is there stays"
    check_picture(fake, play)


def test_the_tokenizer_of_the_cells_is_not_shared(fake: Components, make: Callable) -> None:
    """A fast tokenizer holds state during a call: two threads in one disturb each other."""
    play = make()
    ours, theirs = play._painter._tokenizer, fake.tokenizer
    assert ours is not theirs
    assert ours._tokenizer is not theirs._tokenizer
    assert ours(PROMPT).input_ids == theirs(PROMPT).input_ids


def test_a_failing_model_shows_its_error_and_the_widget_works_again(
    fake: Components, make: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = make()
    help_for_memory = "out of memory.<br>What helps, in this order: (1) half precision"
    for error, message in [
        (RuntimeError(f"broken {NASTY}"), f"<b>RuntimeError: broken {ESCAPED}</b>"),
        (torch.OutOfMemoryError("CUDA out of memory."), help_for_memory),
    ]:
        fake.unet.error = error
        move(play, seed=play.controls["seed"].value + 1)
        assert message in play.view.error.value
        assert play.view.caption.value == "Stopped before the first step."
        assert play.painting is None
    fake.unet.error, fake.unet.factor = None, float("nan")
    press(play, "paint")
    assert "FloatingPointError" in play.view.error.value
    fake.unet.factor = 1.0

    def fail(*given: object) -> None:
        raise ValueError("no canvas")

    for where in ("playground.painter.decode_latents", "playground.view.View.show_painting"):
        with monkeypatch.context() as broken:
            broken.setattr(f"sdhelpers.{where}", fail)
            press(play, "paint")
        assert "no canvas" in play.view.error.value
        assert play.view.caption.value.startswith("Stopped after step 4 of 4 ")
        assert play.painting is None
    press(play, "paint")
    assert play.view.error.value == ""
    check_picture(fake, play)


def test_settings_that_the_model_refuses_are_reported(make: Callable) -> None:
    play = make()
    before = play.painting
    play.controls["size"].options = [*play.controls["size"].options, ("odd", (60, 60))]
    move(play, size=(60, 60))
    assert "ValueError: height must be a positive multiple of 8" in play.view.error.value
    move(play, size=(64, 64))
    move(play, guidance_scale=float("nan"))
    assert "guidance_scale must be a finite number, got nan" in play.view.error.value
    assert play.painting.settings == before.settings
    move(play, guidance_scale=2.0)
    assert play.view.error.value == ""
    assert play.painting.settings.guidance_scale == 2.0


def test_the_price_is_named_before_it_is_paid(fake: Components, make: Callable) -> None:
    play = make(scheduler="DPM-Solver++", height=128, width=128)
    named = []
    play.view.price.observe(lambda change: named.append((change["new"], fake.unet.num_calls)))
    fake.unet.close_gate()
    play._painter._seconds_per_pixel = 1e-5
    calls = fake.unet.num_calls
    for name, value, price in [
        ("num_inference_steps", 20, "20 UNet calls, about 6.6 s"),
        ("scheduler", "PNDM", "21 UNet calls, about 6.9 s"),
        ("size", (128, 192), "21 UNet calls, about 10.3 s"),
        ("guidance_scale", 1.0, "21 UNet calls, about 5.2 s"),
        ("num_inference_steps", 1, "1 UNet call, about 0.2 s"),
    ]:
        play.controls[name].value = value
        assert play.view.price.value == f"Price: {price}"
    assert named[0] == ("Price: 20 UNet calls, about 6.6 s", calls)
    assert len(named) == 5


def test_seconds_are_those_of_the_last_measured_call(fake: Components) -> None:
    fake.unet.close_gate()
    play = playground(fake, PROMPT, num_inference_steps=10, scheduler="Euler", height=64, width=64)
    fake.unet.wait_for_call()
    assert play.view.price.value == "Price: 10 UNet calls, not measured yet"
    time.sleep(0.3)
    fake.unet.open_gate()
    assert play.wait(PATIENCE)
    # The first call took 0.3 s and more, the last one next to nothing.
    estimate = play._painter.estimate_seconds(play._painter.prepare(play.view.settings))
    assert estimate < 3
    assert play.view.price.value == f"Price: 10 UNet calls, about {estimate:.1f} s"
    play.close()


def test_what_is_dear_waits_for_the_button(
    fake: Components, make: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = make()
    monkeypatch.setattr("sdhelpers.playground.page._MOST_UNASKED", 0.0)
    calls = fake.unet.num_calls
    move(play, num_inference_steps=5)
    assert fake.unet.num_calls == calls
    assert "6 UNet calls, about" in play.view.price.value
    assert play.view.message.value == "Press Paint to begin."
    assert "3 steps" in play.view.caption.value, "the picture is still that of before"
    assert play.painting.settings.num_inference_steps == 3
    press(play, "paint")
    assert fake.unet.num_calls == calls + 6
    assert play.view.message.value == ""
    fake.unet.close_gate()
    play.view.buttons["paint"].click()
    fake.unet.wait_for_call()
    play.controls["seed"].value = 1
    assert play.view.caption.value == "Stopped before the first step.", "and nothing is awaited"


def test_each_prompt_is_encoded_once_within_bounds(
    fake: Components, make: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = []
    hook = fake.text_encoder.register_forward_hook(lambda *args: prompts.append(1))
    try:
        play = make(num_inference_steps=1)
        assert len(prompts) == 2, "the prompt and the empty one"
        move(play, guidance_scale=3.0)
        move(play, prompt="a boat")
        move(play, prompt=PROMPT)
        assert len(prompts) == 3
    finally:
        hook.remove()
    check_picture(fake, play)
    monkeypatch.setattr("sdhelpers.playground.painter._MOST_EMBEDDINGS", 3)
    for number in range(4):
        move(play, prompt=f"a car {number}")
    assert len(play._painter._embeddings) == 3
    check_picture(fake, play)


def test_words_that_the_model_never_saw_are_named(
    make: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = make()
    words = play.view.words
    assert words.value == ""
    move(play, prompt="a quokka")
    assert (
        "The prompt has words that this model never saw in training: &quot;quokka&quot;."
        in words.value
    )
    move(play, negative_prompt="quokka")
    assert "The negative prompt has words" in words.value
    move(play, prompt="a horse " * 50)
    assert "The prompt is longer than the 77 tokens" in words.value
    move(play, negative_prompt="", prompt=PROMPT)
    assert words.value == ""
    monkeypatch.setattr("sdhelpers.playground.painter.unknown_words", lambda *args: ["a", "b", "c"])
    move(play, prompt="a b c")
    assert "&quot;a&quot;, &quot;b&quot; and &quot;c&quot;. Such" in words.value


def test_text_stays_text(make: Callable, tmp_path: Path) -> None:
    play = make(NASTY, folder=tmp_path / NASTY, negative_prompt=NASTY)
    play.view.buttons["save"].click()
    view = play.view
    lines = [view.caption, view.price, view.words, view.message, view.error]
    lines += play.history._labels
    assert sum(ESCAPED in line.value for line in lines) >= 2
    assert not any("<img" in line.value for line in lines)


def test_the_history_keeps_eight_and_restores_without_painting(
    fake: Components, make: Callable
) -> None:
    play = make(num_inference_steps=1)
    announced = []

    def look(change: dict) -> None:
        announced.append((change["new"], play.history.paintings[0].settings.seed))

    play.view.caption.observe(look, names="value")
    for seed in (1, 0, *range(1, 11)):  # what is painted again takes no second place
        move(play, seed=seed)
        assert f"seed {seed} " in announced[-1][0]
        assert announced[-1][1] == seed, "what the caption announces is in the history"
        if seed < 2:
            shown = [place.layout.display for place in play.history.children]
            assert shown == ["flex"] * 2 + ["none"] * 6
    assert [one.settings.seed for one in play.history.paintings] == list(range(10, 2, -1))
    assert [place.layout.display for place in play.history.children] == ["flex"] * 8
    move(play, guidance_scale=3.0, size=(96, 96), prompt="a quokka")

    begin(play, fake, seed=99)
    calls, oldest = fake.unet.num_calls, play.history.paintings[-1]
    play.history.buttons[-1].click()  # this ends the run
    fake.unet.open_gate()
    assert play.wait(PATIENCE)
    assert fake.unet.num_calls == calls
    assert play.view.settings == oldest.settings
    assert play.picture.value == oldest.png
    assert play.painting is oldest
    assert f"seed {oldest.settings.seed}" in play.view.caption.value
    assert play.view.words.value == ""
    check_picture(fake, play)


def test_a_saved_picture_restores_its_settings_elsewhere(
    fake: Components, make: Callable, tmp_path: Path
) -> None:
    play = make(
        "näher: 宇宙",
        negative_prompt="a boat",
        guidance_scale=3.3,
        seed=77,
        scheduler="DDIM",
        width=80,
    )
    press(play, "save")
    path = tmp_path / "playground-001.png"
    assert play.view.message.value.startswith(f"Saved as {path}")
    assert read_settings(path.read_bytes()) == play.view.settings
    press(play, "save")
    assert (tmp_path / "playground-002.png").read_bytes() == path.read_bytes()

    other, of_version_7 = make(), make()
    calls = fake.unet.num_calls
    upload(other, path.read_bytes())
    of_version_7._load({"x.png": {"metadata": {}, "content": path.read_bytes()}})
    for restored in (other, of_version_7):
        assert restored.wait(PATIENCE)
        assert restored.view.settings == play.view.settings
        assert restored.picture.value == play.picture.value
        assert restored.history.paintings[0].settings == play.view.settings
    assert fake.unet.num_calls == calls, "loading paints nothing"
    assert IS_OLD or other.view.load.value == (), "so that the same file can be loaded again"
    press(other, "paint")
    np.testing.assert_array_equal(look_at(other.picture), look_at(play.picture))


def test_a_file_that_does_not_fit_changes_nothing(make: Callable) -> None:
    play = make()
    before = play.view.settings, play.picture.value
    settings = vars(play.view.settings)
    for content, message in [
        (b"no picture", "not a whole PNG file"),
        (make_png(settings | {"height": 60}), "height must be a positive multiple of 8"),
        (make_png(settings | {"height": None}), "height must be an integer from 1"),
        (make_png(settings | {"scheduler": "Heun"}), "Unknown scheduler &#x27;Heun&#x27;"),
        (make_png(settings | {"prompt": "\udcff"}), "TypeError"),
    ]:
        upload(play, content)
        assert message in play.view.error.value
        assert (play.view.settings, play.picture.value) == before
        assert len(play.history.paintings) == 1
    move(play, seed=1)
    assert play.view.error.value == ""


def test_saving_what_is_not_there_says_so(fake: Components, make: Callable, tmp_path: Path) -> None:
    play = make(folder=tmp_path / "nowhere")
    play.view.buttons["save"].click()
    assert "FileNotFoundError" in play.view.error.value
    begin(play, fake, seed=1)
    play.view.buttons["save"].click()
    assert play.view.message.value == "There is no finished picture to save yet."
    assert list(tmp_path.iterdir()) == []


def test_the_dice_leave_the_global_randomness_alone(make: Callable) -> None:
    play = make()
    random.seed(0)
    before = random.getstate(), torch.get_rng_state()
    seeds = set()
    for _ in range(5):
        play.view.buttons["dice"].click()
        seeds.add(play.controls["seed"].value)
    assert play.wait(PATIENCE)
    assert len(seeds) > 1
    assert play.painting.settings.seed == play.controls["seed"].value
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_every_control_has_a_description_and_a_class_of_its_own(make: Callable) -> None:
    play = make()
    view = play.view
    controls = [*play.controls.values(), *view.buttons.values(), view.load, *play.history.buttons]
    classes = [control._dom_classes for control in controls]
    assert all(control.description for control in controls)
    assert len({own for (own,) in classes}) == len(controls) == 20
    assert all(own.startswith("sd-") for (own,) in classes)
    late = ["prompt", "negative_prompt", "guidance_scale", "num_inference_steps", "seed"]
    assert not any(play.controls[name].continuous_update for name in late)
    assert repr(play).startswith(f"[live in a running notebook: prompt = {PROMPT}, ")
    assert play.give_picture() == play.painting.png
    assert "sd-playground" in play._dom_classes


def test_every_size_that_is_offered_fits_the_model(fake: Components, make: Callable) -> None:
    offered = [size for _, size in make().controls["size"].options]
    assert offered[:-1] == [(96, 96), (128, 128), (128, 192), (192, 128), (192, 192)]
    assert offered[-1] == (64, 64), "asked for by this page"
    config = dict(fake.unet.config) | {"sample_size": (10, 1)}
    fake.unet.config = type("Config", (), config)
    (offered, _) = zip(*make().controls["size"].options, strict=True)
    assert offered == ("8 x 64", "8 x 80", "16 x 80", "8 x 120", "16 x 120", "64 x 64")


def test_closing_ends_the_run_and_its_thread(fake: Components, make: Callable) -> None:
    play = make()
    before = threading.active_count()
    begin(play, fake, num_inference_steps=100)
    assert threading.active_count() == before + 1
    closer = threading.Thread(target=play.close)
    closer.start()
    while not play._runner._is_closed:
        time.sleep(0.002)
    shown = play.picture.value
    fake.unet.open_gate()
    closer.join(PATIENCE)
    assert threading.active_count() == before
    assert play.picture.value == shown, "what was at work is thrown away"
    assert len(play.history.paintings) == 1
    play.close()  # twice is once
    play.controls["seed"].value = 1
    assert "RuntimeError: This runner is closed" in play.view.error.value


def move_at_random(play: Playground, chance: random.Random, count: int) -> None:
    """Do what a reader without a plan does, and wait for the last picture."""
    values = {
        "prompt": [PROMPT, "a boat", "a quokka", NASTY],
        "negative_prompt": ["", "a house"],
        "guidance_scale": [0, 1, 3.5, 20],
        "num_inference_steps": [1, 2, 7, 100],
        "seed": list(range(50)),
        "scheduler": list(SCHEDULERS),
        "size": [(64, 64), (96, 96)],
    }
    for _ in range(count):
        name = chance.choice([*play.controls, *play.view.buttons, "restore", "wait"])
        if name in play.controls:
            play.controls[name].value = chance.choice(values[name])
        elif name in play.view.buttons:
            play.view.buttons[name].click()
        elif name == "restore":
            play.history.buttons[chance.randrange(len(play.history.paintings))].click()
        else:
            assert play.wait(PATIENCE)
    assert play.wait(PATIENCE)


def count_widgets() -> int:
    """Count the widgets that ipywidgets, 7 or 8, keeps."""
    widget = ipywidgets.widgets.widget
    return len(getattr(widget, "_instances", None) or ipywidgets.Widget.widgets)


def measure_memory() -> int:
    """Give the bytes that this process uses, after giving back what it only keeps in reserve."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return psutil.Process().memory_info().rss


def test_sixty_random_moves_leave_nothing_behind(fake: Components, make: Callable) -> None:
    play = make()
    threads, num_widgets = set(threading.enumerate()), count_widgets()
    move_at_random(play, random.Random(0), 60)
    assert play.view.error.value == ""
    assert set(threading.enumerate()) <= threads
    assert count_widgets() == num_widgets
    move(play, seed=12345)
    check_picture(fake, play)


@pytest.mark.thorough
def test_nine_hundred_random_moves_leave_no_memory_behind(make: Callable) -> None:
    play = make()
    chance = random.Random(0)
    move_at_random(play, chance, 300)  # until the allocator has seen everything
    num_widgets = count_widgets()
    growths = []
    for _ in range(3):
        memory = measure_memory()
        move_at_random(play, chance, 200)
        growths.append(measure_memory() - memory)
    assert play.view.error.value == ""
    assert count_widgets() == num_widgets
    # What is leaked is leaked each time; an allocator that takes one more block is no leak.
    assert min(growths) < MOST_GROWTH, growths

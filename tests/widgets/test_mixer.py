"""The guidance mixer and its static twin: mixed exactly as the loop mixes."""

import asyncio
import itertools
import random
import threading

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from sdhelpers.guidance import apply_guidance
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import decode_latents, latents_to_rgb
from sdhelpers.steps import Step, remix_step
from sdhelpers.widgets import mixer as mixer_module
from sdhelpers.widgets.frames import enlarge
from sdhelpers.widgets.mixer import GuidanceMixer, guidance_mixer, show_guidance_mix
from tests.runs import count_calls, look_at, make_run

SCALES = [0.0, 1.0, 2.3, 7.5, 20.0]


@pytest.fixture
def mixer(components, steps, preview) -> GuidanceMixer:
    return guidance_mixer(steps[0], components.vae, preview=preview)


def guess(step: Step, scale: float) -> torch.Tensor:
    """Give the clean guess at a scale, written out."""
    mixed = apply_guidance(step.noise_pred_uncond, step.noise_pred_text, scale)
    return step.latents / step.signal_scale - step.sigma * mixed


def test_mixing_is_exact(components, steps) -> None:
    for step, scale in itertools.product(steps, SCALES):
        mixed = remix_step(step, scale)
        expected = apply_guidance(step.noise_pred_uncond, step.noise_pred_text, scale)
        assert torch.equal(mixed.noise_pred, expected)
        assert torch.equal(mixed.pred_original_sample, guess(step, scale))
        assert mixed.latents is step.latents
        assert torch.equal(mixed.noise_pred, step.noise_pred) == (scale == 7.5), "the run's own"
    # In the first step, which starts from the same noise whatever the scale.
    other = make_run(components, num_inference_steps=4, guidance_scale=9.0)
    torch.testing.assert_close(remix_step(steps[0], 9.0).noise_pred, other[0].noise_pred)


def test_the_preview_follows_every_move_and_asks_nothing_of_the_model(
    components, steps, preview, mixer
) -> None:
    before = mixer.decoded.value
    with count_calls(components) as called:
        for scale in [*SCALES, 4.2]:
            mixer.guidance_scale.value = scale
            assert torch.equal(mixer.mixed.noise_pred, remix_step(steps[0], scale).noise_pred)
            (small,) = tensor_to_images(latents_to_rgb(guess(steps[0], scale), preview))
            np.testing.assert_array_equal(look_at(mixer.preview), enlarge(small))
            assert mixer.caption.value.startswith(f"guidance scale {scale:g}, step 1, sigma ")
    assert not called
    # Scale 7.5 was decoded when the mixer was made; the others wait.
    assert mixer.decoded.value == before
    assert mixer.decoded_caption.value.endswith("decoded on release")


def test_decoding_shows_the_clean_guess(components, steps, mixer) -> None:
    mixer.guidance_scale.value = 2.5
    with count_calls(components) as called:
        mixer.decode()
        assert called == ["decoder"]
        (expected,) = tensor_to_images(decode_latents(components.vae, guess(steps[0], 2.5)))
        np.testing.assert_array_equal(look_at(mixer.decoded), expected)
        assert mixer.decoded_caption.value.startswith("guidance scale 2.5, step 1, sigma ")
        called.clear()
        mixer.guidance_scale.value = 7.5  # decoded before: shown again at once
        assert not called
    (expected,) = tensor_to_images(decode_latents(components.vae, guess(steps[0], 7.5)))
    np.testing.assert_array_equal(look_at(mixer.decoded), expected)


def test_in_a_notebook_it_decodes_once_the_slider_rests(
    components, steps, mixer, monkeypatch
) -> None:
    monkeypatch.setattr(mixer_module, "_RELEASED_AFTER", 0.02)
    is_decoded = asyncio.Event()
    mixer.decoded.observe(lambda change: is_decoded.set(), names="value")

    async def drag_and_close() -> None:
        for scale in (8.0, 9.0, 10.0):
            mixer.guidance_scale.value = scale
        await asyncio.sleep(0)
        assert not called
        await asyncio.wait_for(is_decoded.wait(), 60)
        mixer.guidance_scale.value = 11.0
        mixer.close()
        await asyncio.sleep(0.1)

    with count_calls(components) as called:
        asyncio.run(drag_and_close())
    assert called == ["decoder"], "neither what was passed over, nor anything once it is closed"
    (expected,) = tensor_to_images(decode_latents(components.vae, guess(steps[0], 10.0)))
    np.testing.assert_array_equal(look_at(mixer.decoded), expected)


def test_a_second_slider_chooses_the_step(components, steps, preview, mixer) -> None:
    assert mixer.step.layout.display == "none", "one step needs none"
    mixer = guidance_mixer(steps, components.vae, preview=preview, guidance_scale=5.0)
    assert mixer.step.layout.display is None
    mixer.step.value = 2
    assert torch.equal(mixer.mixed.noise_pred, remix_step(steps[1], 5.0).noise_pred)
    (small,) = tensor_to_images(latents_to_rgb(guess(steps[1], 5.0), preview))
    np.testing.assert_array_equal(look_at(mixer.preview), enlarge(small))
    assert mixer.guidance_scale.description == "guidance scale"
    assert "sd-mixer-guidance-scale" in mixer.guidance_scale._dom_classes
    assert mixer.describe() == f"guidance scale 5, step 2, sigma {steps[1].sigma:.3g}"
    assert mixer.give_picture() == mixer.decoded.value


def test_a_failing_decoder_shows_its_error_and_the_mixer_works_again(mixer, monkeypatch) -> None:
    def fail(vae: object, latents: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("<b>no</b> memory")

    mixer.guidance_scale.value = 3.0
    with monkeypatch.context() as broken:
        broken.setattr(mixer_module, "decode_latents", fail)
        mixer.decode()
    assert "<b>RuntimeError: &lt;b&gt;no&lt;/b&gt; memory</b>" in mixer.decoded_caption.value
    before = mixer.decoded.value
    mixer.decode()
    assert mixer.decoded.value != before
    assert mixer.decoded_caption.value.startswith("guidance scale 3,")


def test_many_moves_leave_nothing_behind(components, mixer, monkeypatch) -> None:
    tiny = torch.zeros(1, 3, 8, 8)
    monkeypatch.setattr(mixer_module, "decode_latents", lambda vae, latents: tiny)
    chance = random.Random(0)
    threads = threading.active_count()
    for _ in range(200):
        mixer.guidance_scale.value = round(chance.uniform(0, 20), 1)
        mixer.decode()
    assert threading.active_count() == threads
    assert len(mixer._remembered) == mixer_module._MOST_REMEMBERED


def test_bad_input(components, steps) -> None:
    vae = components.vae
    (only_uncond,) = make_run(components, num_inference_steps=1, guidance_scale=0.0)
    (only_text,) = make_run(components, num_inference_steps=1, guidance_scale=1.0)
    lacking = "Step 0 holds no noise_pred_{}: a run with a guidance_scale of exactly 0 or 1"
    wrong = [
        (lambda: remix_step(only_uncond, 7.5), lacking.format("text")),
        (lambda: guidance_mixer([only_uncond], vae), lacking.format("text")),
        (lambda: guidance_mixer(only_text, vae), lacking.format("uncond")),
        (lambda: show_guidance_mix(only_text, vae), lacking.format("uncond")),
        (lambda: guidance_mixer("step", vae), "stored run"),
        (lambda: guidance_mixer([], vae), "an empty one"),
        (lambda: guidance_mixer(steps[0], vae, guidance_scale=21), "0 to 20, got 21"),
        (lambda: guidance_mixer(steps[0], vae, guidance_scale=float("nan")), "finite number"),
        (lambda: guidance_mixer(steps[0], vae, picture=2), "from 0 to 0, got 2"),
        (lambda: remix_step(None, 7.5), "step must be a Step"),
        (lambda: remix_step(steps[0], "7"), "finite number"),
        (lambda: show_guidance_mix(steps[0], vae, scales=[]), "one guidance scale or more"),
        (lambda: show_guidance_mix(steps[0], vae, np.array([])), "guidance scale or more"),
    ]
    with count_calls(components) as called:
        for call, message in wrong:
            with pytest.raises(ValueError, match=message):
                call()
    assert not called


@pytest.mark.usefixtures("no_window")
def test_the_twin_shows_the_same_pictures(components, steps, preview) -> None:
    show_guidance_mix(steps[0], components.vae, [0, 7.5], preview=preview)
    axes = plt.gcf().axes
    assert [axis.get_title().replace("\n", " ") for axis in axes[:2]] == [
        "guidance scale 0",
        "guidance scale 7.5",
    ]
    for index, scale in enumerate([0, 7.5]):
        (small,) = tensor_to_images(latents_to_rgb(guess(steps[0], scale), preview))
        np.testing.assert_array_equal(axes[index].images[0].get_array(), small)
        (decoded,) = tensor_to_images(decode_latents(components.vae, guess(steps[0], scale)))
        difference = axes[2 + index].images[0].get_array().astype(int) - np.asarray(decoded)
        assert np.abs(difference).max() <= 1

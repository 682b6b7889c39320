"""Bad input is refused before any computing, in words; good input is not refused."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from sdhelpers import denoise, generate
from sdhelpers.latents import make_generator, picture_size, vae_scale_factor
from sdhelpers.schedule import make_scheduler
from tests.conftest import PROMPT

property_test = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def idle(components, monkeypatch):
    """The components, with networks that fail the test when they are called."""

    def refuse(*args, **kwargs):
        pytest.fail("computing began before the input was refused")

    for network in (components.text_encoder, components.unet, components.vae):
        monkeypatch.setattr(network, "forward", refuse)
    monkeypatch.setattr(components.vae, "decode", refuse)
    return components


def refuses(idle, match: str, prompt=PROMPT, **arguments) -> None:
    with pytest.raises(ValueError, match=match):
        generate(idle, prompt, show_progress=False, **arguments)


@pytest.mark.parametrize("side", ["height", "width"])
@property_test
@given(value=st.one_of(st.integers(-4096, 4096), st.floats(), st.text(max_size=3), st.booleans()))
@example(value=0)
@example(value=-8)
def test_sizes(idle, side, value) -> None:
    factor = vae_scale_factor(idle.vae)
    is_good = isinstance(value, int) and not isinstance(value, bool) and value > 0
    assume(not (is_good and value % factor == 0))
    refuses(idle, f"{side} must be a positive multiple of {factor} pixels", **{side: value})


@property_test
@given(cells=st.integers(1, 200))
def test_good_sizes_are_not_refused(components, cells) -> None:
    side = cells * vae_scale_factor(components.vae)
    assert picture_size(components.unet, components.vae, side, side) == (side, side)


@property_test
@given(value=st.one_of(st.integers(), st.floats(), st.none(), st.text(max_size=3), st.booleans()))
@example(value=0)
@example(value=-3)
@example(value=1001)
@example(value=20.0)
def test_steps(idle, value) -> None:
    is_good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1000
    assume(not is_good)
    refuses(idle, "num_inference_steps", num_inference_steps=value)


@property_test
@given(value=st.sampled_from([math.nan, math.inf, -math.inf, None, "7.5", True, [7.5]]))
def test_guidance(idle, value) -> None:
    refuses(idle, "guidance_scale must be a finite number", guidance_scale=value)


@property_test
@given(name=st.text(max_size=12))
@example(name="K_LMS")
def test_unknown_scheduler(idle, name) -> None:
    assume(name not in ("K-LMS", "PNDM", "DDIM", "Euler", "DPM-Solver++"))
    refuses(idle, "Known are: K-LMS, PNDM, DDIM, Euler, DPM-Solver", scheduler=name)


@property_test
@given(prompt=st.one_of(st.integers(), st.none(), st.lists(st.integers(), max_size=3)))
@example(prompt=[])
@example(prompt=[PROMPT, None])
def test_prompts(idle, prompt) -> None:
    refuses(idle, "prompt", prompt=prompt)


@property_test
@given(num_prompts=st.integers(1, 4), num_negatives=st.integers(0, 5))
def test_negative_prompts(idle, num_prompts, num_negatives) -> None:
    assume(num_prompts != num_negatives)
    refuses(
        idle,
        "negative",
        prompt=[PROMPT] * num_prompts,
        negative_prompt=["blue"] * num_negatives,
    )


@property_test
@given(seed=st.one_of(st.integers(max_value=-1), st.floats(), st.text(max_size=3), st.none()))
@example(seed=[1, 2])
@example(seed=[])
def test_seeds(idle, seed) -> None:
    refuses(idle, "seed|generators were given", seed=seed)


@pytest.mark.parametrize("value", [0, -1, 1.5, None])
def test_num_images_per_prompt(idle, value) -> None:
    refuses(idle, "num_images_per_prompt", num_images_per_prompt=value)


@property_test
@given(shape=st.lists(st.integers(0, 6), max_size=5))
def test_latents_of_the_wrong_shape(idle, shape) -> None:
    channels = idle.unet.config.in_channels
    assume(not (len(shape) == 4 and shape[0] == 1 and shape[1] == channels and 0 not in shape))
    refuses(idle, "latents must", latents=torch.zeros(shape))


def test_latents_and_size_that_disagree(idle) -> None:
    channels, factor = idle.unet.config.in_channels, vae_scale_factor(idle.vae)
    refuses(
        idle,
        "latents must have shape",
        latents=torch.zeros(1, channels, 4, 4),
        height=5 * factor,
        width=4 * factor,
    )


def test_latents_that_are_not_finite(idle) -> None:
    latents = torch.full((1, idle.unet.config.in_channels, 4, 4), torch.nan)
    refuses(idle, "NaN or infinity before the first step", latents=latents)


def test_latents_and_seeds_that_disagree(idle) -> None:
    latents = torch.zeros(1, idle.unet.config.in_channels, 4, 4)
    refuses(idle, "3 generators or seeds were given for 1", latents=latents, seed=[1, 2, 3])


def test_denoise_refuses_at_the_call_not_at_the_first_step(idle) -> None:
    channels, width = idle.unet.config.in_channels, idle.unet.config.cross_attention_dim
    latents, embeddings = torch.zeros(1, channels, 4, 4), torch.zeros(2, 77, width)
    bad_calls = [
        ("text_embeddings must have shape", latents, embeddings[:1], {}),
        ("text_embeddings must have shape", latents, embeddings[..., 1:], {}),
        ("text_embeddings must have shape", latents, None, {}),
        ("latents must be a tensor", latents[0], embeddings, {}),
        ("latents must be a tensor", "noise", embeddings, {}),
        ("latents are torch.float64", latents.double(), embeddings, {}),
        ("text_embeddings are torch.float64", latents, embeddings.double(), {}),
        ("num_inference_steps", latents, embeddings, {"num_inference_steps": 0}),
        ("guidance_scale", latents, embeddings, {"guidance_scale": math.nan}),
        ("generator must be", latents, embeddings, {"generator": "seed"}),
        ("2 generators", latents, embeddings, {"generator": [make_generator(0)] * 2}),
    ]
    for match, noise, text_embeddings, arguments in bad_calls:
        with pytest.raises(ValueError, match=match):
            denoise(idle.unet, idle.scheduler, noise, text_embeddings, **arguments)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, 5, [], FlowMatchEulerDiscreteScheduler()])
def test_what_is_no_scheduler(idle, scheduler) -> None:
    refuses(idle, "scheduler must be a name, or a diffusers scheduler", scheduler=scheduler)


def test_a_model_that_does_not_predict_noise(idle) -> None:
    config = {**idle.scheduler.config, "prediction_type": "v_prediction"}
    refuses(idle, "'v_prediction'", scheduler=make_scheduler("DDIM", config))

"""Bad input is refused before any computing, in words; good input is not refused."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, IPNDMScheduler
from hypothesis import HealthCheck, assume, given, settings
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


def is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


ANYTHING = st.one_of(
    st.integers(-4096, 4096), st.floats(), st.text(max_size=3), st.booleans(), st.none()
)
NO_SIZE = ANYTHING.filter(
    lambda value: value is not None and not (is_integer(value) and value > 0 and value % 8 == 0)
)
NO_COUNT = ANYTHING.filter(lambda value: not (is_integer(value) and value > 0))
NO_NUMBER_OF_STEPS = ANYTHING.filter(lambda value: not (is_integer(value) and 0 < value < 1000))
NO_SEED = ANYTHING.filter(lambda value: not (is_integer(value) and value >= 0))
NO_NUMBER = [math.nan, math.inf, -math.inf, None, "7.5", True, [7.5]]
NO_PROMPT = st.one_of(st.integers(), st.none(), st.lists(st.integers(), max_size=3))
NO_SCHEDULER = [DDIMScheduler, 5, [], FlowMatchEulerDiscreteScheduler(), IPNDMScheduler()]
# argument -> the values that a test always tries, others that hypothesis draws, and what is said
BAD = {
    "height": ([0, -8, 8.0], NO_SIZE, "height must be a positive multiple of 8 pixels"),
    "width": ([0, -8, True], NO_SIZE, "width must be a positive multiple of 8 pixels"),
    "num_inference_steps": ([0, -3, 1001, 20.0], NO_NUMBER_OF_STEPS, "num_inference_steps"),
    "guidance_scale": (NO_NUMBER, st.nothing(), "guidance_scale must be a finite number"),
    "prompt": ([[], [PROMPT, None], b"horse"], NO_PROMPT, "prompt"),
    "seed": ([[1, 2], [], None], NO_SEED, "seed|generators were given"),
    "num_images_per_prompt": ([0, -1, 1.5, None], NO_COUNT, "num_images_per_prompt must be"),
    "scheduler": (["K_LMS"], st.text(max_size=12), "Known are: K-LMS, PNDM, DDIM, Euler, DPM-S"),
}


@pytest.mark.parametrize("argument", BAD)
@property_test
@given(data=st.data())
def test_bad_values(idle, argument, data) -> None:
    values, more, match = BAD[argument]
    assert vae_scale_factor(idle.vae) == 8
    refuses(idle, match, **{argument: data.draw(st.sampled_from(values) | more)})


@pytest.mark.parametrize("argument", BAD)
def test_bad_values_that_are_always_tried(idle, argument) -> None:
    values, _, match = BAD[argument]
    for value in values:
        refuses(idle, match, **{argument: value})


@property_test
@given(cells=st.integers(1, 200))
def test_good_sizes_are_not_refused(components, cells) -> None:
    side = cells * vae_scale_factor(components.vae)
    assert picture_size(components.unet, components.vae, side, side) == (side, side)


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
@given(shape=st.lists(st.integers(0, 6), max_size=5))
def test_latents_of_the_wrong_shape(idle, shape) -> None:
    channels = idle.unet.config.in_channels
    assume(not (len(shape) == 4 and shape[0] == 1 and shape[1] == channels and 0 not in shape))
    refuses(idle, "latents must", latents=torch.zeros(shape))


def test_latents_that_do_not_fit(idle) -> None:
    latents = torch.zeros(1, idle.unet.config.in_channels, 4, 4)
    bad_calls = [
        ("latents must have shape", {"latents": latents, "height": 40, "width": 32}),
        ("NaN or infinity before the first step", {"latents": latents / 0}),
        ("3 generators or seeds were given for 1", {"latents": latents, "seed": [1, 2, 3]}),
        ("floating point, got torch.int64", {"latents": latents.long()}),
        ("floating point, got torch.complex64", {"latents": latents.to(torch.complex64)}),
        ("floating point, got ndarray", {"latents": latents.numpy()}),
    ]
    for match, arguments in bad_calls:
        refuses(idle, match, **arguments)


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


@pytest.mark.parametrize("scheduler", NO_SCHEDULER)
def test_what_is_no_scheduler(idle, scheduler) -> None:
    refuses(idle, "scheduler must be a name, or a diffusers scheduler", scheduler=scheduler)


def test_a_model_that_does_not_predict_noise(idle) -> None:
    config = {**idle.scheduler.config, "prediction_type": "v_prediction"}
    refuses(idle, "'v_prediction'", scheduler=make_scheduler("DDIM", config))

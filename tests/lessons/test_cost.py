"""The budget, compared with what torch really allocates; and the price of a run."""

from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from sdhelpers import TINY_SD, load_components
from sdhelpers.latents import initial_latents, make_generator
from sdhelpers.lessons.cost import describe_price, measure_unet_call, memory_budget
from sdhelpers.model.known import SD_V1_4, SD_V1_5
from sdhelpers.model.parts import Components


def measure_peak(call: object) -> int:
    """Give the most bytes that the CPU's allocator had given out at once during a call."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    events = [one for one in found.profiler.kineto_results.events() if one.name() == "[memory]"]
    assert events
    now = peak = 0
    for event in sorted(events, key=lambda one: one.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def measure_parts(components: Components, height: int) -> dict[str, int]:
    """Measure each part's call as painting makes it."""
    tokenizer, text_encoder, unet, vae, _ = components
    latents = initial_latents(unet, vae, make_generator(0), height=height, width=height)
    doubled = torch.cat([latents] * 2)
    shape = (2, tokenizer.model_max_length, unet.config.cross_attention_dim)
    input_ids = torch.zeros(shape[:2], dtype=torch.long)
    return {
        "text_encoder": measure_peak(lambda: text_encoder(input_ids)),
        "unet": measure_peak(lambda: unet(doubled, 0, encoder_hidden_states=torch.zeros(shape))),
        "vae": measure_peak(lambda: vae.decode(latents)),
    }


@pytest.mark.parametrize("size", [128, pytest.param(256, marks=pytest.mark.thorough)])
def test_the_estimate_is_near_what_is_measured(components: Components, size: int) -> None:
    """Below, never far above; the rest is the convolutions' scratch space, a few megabytes."""
    measured = measure_parts(components, size)
    for part in memory_budget(TINY_SD, size, size).parts:
        assert 0.6 * measured[part.part] - 3e6 < part.peak < 1.15 * measured[part.part], part


@pytest.mark.thorough
def test_the_estimate_for_stable_diffusions_shapes(v1_shaped: Path) -> None:
    measured = measure_parts(load_components(v1_shaped, device="cpu"), 512)
    for part in memory_budget(v1_shaped).parts:
        assert 0.7 * measured[part.part] < part.peak < 1.15 * measured[part.part], part


def test_weights_are_counted_exactly(components: Components) -> None:
    budget = memory_budget(TINY_SD)
    for part in budget.parts:
        network = getattr(components, part.part)
        assert part.num_parameters == sum(one.numel() for one in network.parameters())
        held = [*network.parameters(), *network.buffers()]
        assert part.weights == sum(one.numel() * one.element_size() for one in held)


@pytest.mark.thorough
def test_the_real_one_without_a_download() -> None:
    full, half = (memory_budget(SD_V1_4, dtype=dtype) for dtype in (torch.float32, torch.float16))
    assert torch.get_default_dtype() == torch.float32  # put back
    assert (full.height, full.width) == (512, 512)
    assert [part.num_parameters for part in full.parts] == [123_060_480, 859_520_964, 83_653_863]
    assert 4.2e9 < full.peak < 6e9
    assert full.peak / half.peak == pytest.approx(2, rel=0.02)
    assert full.peak_offloaded < full.peak
    assert full.peak_offloaded >= 859_520_964 * 4
    assert memory_budget(SD_V1_5) == full


@pytest.mark.thorough
def test_a_larger_picture_needs_more_but_not_more_weights() -> None:
    small, large = memory_budget(TINY_SD), memory_budget(TINY_SD, 256, 256)
    two = memory_budget(TINY_SD, batch_size=2)
    for one, other, pair in zip(small.parts, large.parts, two.parts, strict=True):
        assert one.weights == other.weights == pair.weights
        assert pair.peak == pytest.approx(2 * one.peak, rel=0.1)
    assert large.parts[2].peak == pytest.approx(4 * small.parts[2].peak, rel=0.1)


def test_the_table() -> None:
    text = str(memory_budget(TINY_SD))
    assert text.startswith("128 x 128 pixels, float32\n")
    assert "unet              13,324,228    53.3 MB" in text
    assert "with cpu_offload" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": torch.int8}, "dtype must be one of"),
        ({"height": 100}, "multiple of"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
    ],
)
def test_what_does_not_fit(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        memory_budget(TINY_SD, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_calls": 0}, "num_calls must be a positive integer"),
        ({"num_calls": 1.5}, "num_calls must be a positive integer"),
        ({"width": 100}, "multiple of"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
    ],
)
def test_a_price_that_does_not_fit(components: Components, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_unet_call(components, **options)


def test_the_price_is_measured(components: Components) -> None:
    """For the batch and size that are asked for; sixteen times the cells: load is no matter.

    The fastest of several calls counts: a machine that is busy for a moment is not measured.
    """
    seen = []
    hook = components.unet.register_forward_pre_hook(
        lambda unet, given: seen.append(given[0].shape)
    )
    try:
        small, large = (
            measure_unet_call(components, height=size, width=size, batch_size=2, num_calls=3)
            for size in (64, 256)
        )
    finally:
        hook.remove()
    assert seen == [(4, 4, 8, 8)] * 4 + [(4, 4, 32, 32)] * 4
    assert 0 < small < large


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "21 UNet calls, about 0.8 s"),
        (2.0, "42 s"),
        (10.0, "3 min 30 s"),
        (8.557, "3 min 0 s"),
    ],
)
def test_the_price_in_words(components: Components, seconds: float, expected: str) -> None:
    """PNDM takes one call more than steps."""
    assert describe_price(components, 20, seconds).endswith(expected)

"""The loop against the library's pipeline, latent by latent, over the same parts."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EulerAncestralDiscreteScheduler, StableDiffusionPipeline
from PIL import Image

from sdhelpers import denoise, generate, sampling
from sdhelpers.guidance import apply_guidance, join_embeddings
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import decode_latents, initial_latents, make_generator, vae_scale_factor
from sdhelpers.model.parts import Components
from sdhelpers.schedule import SCHEDULERS, make_scheduler
from sdhelpers.steps import Step
from sdhelpers.text import encode_prompt
from tests.conftest import PROMPT
from tests.fake_model import FakeUNet

LARGEST_LATENT_DIFFERENCE = 1e-5
TWO_PROMPTS = [PROMPT, "a red apple on a white background"]
# prompt, negative prompt
TEXTS = {
    "one": (PROMPT, None),
    "two": (TWO_PROMPTS, None),
    "negative": (PROMPT, "a horse in the snow"),
    "two negatives": (TWO_PROMPTS, ["a horse", "blue"]),
}


def small_size(components: Components) -> int:
    """Half the size of training, in pixels: quicker, and the loop is the same."""
    return components.unet.config.sample_size // 2 * vae_scale_factor(components.vae)


def draw(components: Components, batch_size: int, size: int | None = None) -> torch.Tensor:
    return initial_latents(
        components.unet,
        components.vae,
        make_generator(0),
        batch_size=batch_size,
        height=size,
        width=size,
    )


def embed(components: Components, prompt, negative_prompt=None) -> torch.Tensor:
    text_embeddings, uncond_embeddings = encode_prompt(
        components.tokenizer, components.text_encoder, prompt, negative_prompt
    )
    return join_embeddings(uncond_embeddings, text_embeddings)


def run_pipeline(pipeline, latents, prompt, negative_prompt, **settings) -> list[torch.Tensor]:
    """Collect the latents after each step of the library's pipeline."""
    collected = []

    def keep(pipeline, index, timestep, tensors):
        collected.append(tensors["latents"].clone())
        return tensors

    pipeline(
        prompt,
        negative_prompt=negative_prompt,
        latents=latents,
        output_type="latent",
        callback_on_step_end=keep,
        **settings,
    )
    return collected


@pytest.fixture
def lent_pipeline(pipeline: StableDiffusionPipeline) -> Iterator[StableDiffusionPipeline]:
    """Lend the pipeline, whose scheduler may be replaced, and put its own back."""
    own = pipeline.scheduler
    yield pipeline
    pipeline.scheduler = own


def assert_every_latent_equals(
    components, pipeline, scheduler, prompt=PROMPT, negative_prompt=None, **settings
) -> None:
    """Walk with both, from the same noise, and compare after each step."""
    batch_size = 1 if isinstance(prompt, str) else len(prompt)
    size = small_size(components)
    latents = draw(components, batch_size, size)
    pipeline.scheduler = scheduler
    expected = run_pipeline(
        pipeline, latents, prompt, negative_prompt, height=size, width=size, **settings
    )
    embeddings = embed(components, prompt, negative_prompt)
    steps = list(denoise(components.unet, scheduler, latents, embeddings, **settings))
    assert len(steps) == len(expected) >= settings["num_inference_steps"]
    for step, theirs in zip(steps, expected, strict=True):
        assert (step.prev_sample - theirs).abs().max() <= LARGEST_LATENT_DIFFERENCE


@pytest.mark.parametrize(
    "text",
    [
        "one",
        "two negatives",  # what the other two have is part of this one
        pytest.param("two", marks=pytest.mark.thorough),
        pytest.param("negative", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("guidance_scale", [1, 1.5, 7.5])
@pytest.mark.parametrize("num_inference_steps", [1, 6])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_latent_equals_the_pipelines(
    components, lent_pipeline, name, num_inference_steps, guidance_scale, text
) -> None:
    assert_every_latent_equals(
        components,
        lent_pipeline,
        make_scheduler(name, components.scheduler.config),
        *TEXTS[text],
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
    )


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_latent_of_a_long_run_equals_the_pipelines(components, lent_pipeline, name) -> None:
    scheduler = make_scheduler(name, components.scheduler.config)
    assert_every_latent_equals(components, lent_pipeline, scheduler, num_inference_steps=20)


@pytest.mark.thorough
def test_the_first_notebooks_own_scheduler(components, lent_pipeline, k_lms) -> None:
    """K-LMS with SD's betas and the class's own spacing, not that of the model's config."""
    assert_every_latent_equals(components, lent_pipeline, k_lms, num_inference_steps=50)


def levels_apart(first, second) -> np.ndarray:
    return np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_picture_equals_the_pipelines(components, lent_pipeline, name) -> None:
    """At the size of training; by an instance and by a name."""
    lent_pipeline.scheduler = make_scheduler(name, components.scheduler.config)
    latents = draw(components, 2)
    settings = {"negative_prompt": ["a horse", "snow"], "num_inference_steps": 3}
    expected = lent_pipeline(TWO_PROMPTS, latents=latents, **settings).images
    settings |= {"latents": latents, "show_progress": False}
    images = generate(components, TWO_PROMPTS, scheduler=lent_pipeline.scheduler, **settings)
    by_name = generate(components, TWO_PROMPTS, scheduler=name, **settings)
    assert len(images) == len(expected) == 2
    for ours, theirs, named in zip(images, expected, by_name, strict=True):
        assert levels_apart(ours, theirs).max() <= 1
        assert levels_apart(ours, named).max() == 0


@contextmanager
def watch(components: Components) -> Iterator[list[tuple[str, int]]]:
    """Collect which network is called, and for how many at once."""
    called = []
    hooks = [
        network.register_forward_pre_hook(
            lambda module, inputs, keywords, name=name: called.append(
                (name, len([*inputs, *keywords.values()][0]))
            ),
            with_kwargs=True,
        )
        for name, network in components.networks._asdict().items()
    ]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("guidance_scale", [1, 7.5])
def test_several_pictures_cost_what_the_pipelines_cost_and_are_the_same(
    components, pipeline, monkeypatch, guidance_scale
) -> None:
    """As many calls of text encoder and UNet, for batches as large; checked and planned once."""
    looked_at = []
    names = [name for name in vars(sampling) if name.startswith("check_")]
    names.remove("check_finite")  # at each step
    for name in ["make_plan", *names]:
        own = getattr(sampling, name)
        monkeypatch.setattr(
            sampling, name, lambda *given, own=own, name=name: looked_at.append(name) or own(*given)
        )
    size = small_size(components)
    settings = {"num_images_per_prompt": 2, "num_inference_steps": 3, "height": size, "width": size}
    settings |= {"latents": draw(components, 4, size), "guidance_scale": guidance_scale}
    with watch(components) as ours_called:
        ours = generate(components, TWO_PROMPTS, show_progress=False, **settings)
    with watch(components) as they_called:
        theirs = pipeline(TWO_PROMPTS, **settings).images
    assert ours_called == they_called
    assert ours_called.count(("unet", 4 if guidance_scale == 1 else 8)) == 4
    assert "make_plan" in looked_at
    assert len(looked_at) == len(set(looked_at))
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        assert levels_apart(one, other).max() <= 1


def walk(
    components, embeddings=None, *, scheduler=None, num_inference_steps=4, **settings
) -> Iterator[Step]:
    """Start a small run, always from the same noise."""
    return denoise(
        components.unet,
        components.scheduler if scheduler is None else scheduler,
        draw(components, 1, small_size(components)),
        embed(components, PROMPT) if embeddings is None else embeddings,
        num_inference_steps=num_inference_steps,
        **settings,
    )


@torch.no_grad()
def walk_by_formula(components, latents, guidance_scale, num_inference_steps) -> torch.Tensor:
    """The loop once more, with two separate UNet calls and the formula written out."""
    text_embeddings, uncond_embeddings = encode_prompt(
        components.tokenizer, components.text_encoder, PROMPT
    )
    scheduler = make_scheduler("DDIM", components.scheduler.config)
    scheduler.set_timesteps(num_inference_steps)
    for t in scheduler.timesteps:
        uncond = components.unet(latents, t, encoder_hidden_states=uncond_embeddings).sample
        text = components.unet(latents, t, encoder_hidden_states=text_embeddings).sample
        mixed = (1 - guidance_scale) * uncond + guidance_scale * text
        latents = scheduler.step(mixed, t, latents).prev_sample
    return latents


@pytest.mark.parametrize("guidance_scale", [-2, 0, 0.3, 0.999, 1, 1.001, 7.5])
def test_any_scale_follows_the_formula(components, guidance_scale) -> None:
    """Also below 1, where the pipeline would switch guidance off."""
    latents = draw(components, 1, small_size(components))
    expected = walk_by_formula(components, latents, guidance_scale, 4)
    scheduler = make_scheduler("DDIM", components.scheduler.config)
    *_, last = walk(components, scheduler=scheduler, guidance_scale=guidance_scale)
    torch.testing.assert_close(last.prev_sample, expected, atol=1e-4, rtol=1e-4)


def test_swapped_order_differs(components) -> None:
    uncond_embeddings, text_embeddings = embed(components, PROMPT).chunk(2)
    *_, right = walk(components)
    *_, swapped = walk(components, join_embeddings(text_embeddings, uncond_embeddings))
    assert (right.prev_sample - swapped.prev_sample).abs().max() > 0.5


def test_scale_0_is_the_empty_prompt_and_scale_1_needs_the_prompt_alone(components) -> None:
    *_, unconditional = walk(components, guidance_scale=0)
    *_, empty = walk(components, embed(components, ""), guidance_scale=1)
    torch.testing.assert_close(unconditional.prev_sample, empty.prev_sample, atol=1e-5, rtol=0)
    *_, both = walk(components, guidance_scale=1)
    *_, alone = walk(components, embed(components, PROMPT)[1:], guidance_scale=1)
    torch.testing.assert_close(both.prev_sample, alone.prev_sample, atol=0, rtol=0)


@pytest.mark.parametrize(("guidance_scale", "rows"), [(0, 1), (1, 1), (0.5, 2), (7.5, 2)])
def test_one_unet_call_a_step_undoubled_where_one_will_do(components, guidance_scale, rows) -> None:
    with watch(components) as called:
        *_, step = walk(components, guidance_scale=guidance_scale)
    unet_calls = [batch_size for name, batch_size in called if name == "unet"]
    assert unet_calls == [rows] * 5  # PNDM visits its second timestep twice
    assert (step.noise_pred_uncond is None) == (guidance_scale == 1)
    assert (step.noise_pred_text is None) == (guidance_scale == 0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_step_adds_up(components, name) -> None:
    """Indices, sigmas, the mix and the clean guess, against the library and the definitions."""
    scheduler = make_scheduler(name, components.scheduler.config)
    latents = draw(components, 1, small_size(components))
    steps = list(walk(components, scheduler=scheduler, num_inference_steps=6, guidance_scale=3))
    scheduler.set_timesteps(6)
    assert [step.index for step in steps] == list(range(len(scheduler.timesteps)))
    assert [step.timestep for step in steps] == scheduler.timesteps.tolist()
    torch.testing.assert_close(steps[0].latents, latents * scheduler.init_noise_sigma)
    for before, after in pairwise(steps):
        torch.testing.assert_close(before.prev_sample, after.latents, atol=0, rtol=0)
    for step in steps:
        mixed = apply_guidance(step.noise_pred_uncond, step.noise_pred_text, 3)
        torch.testing.assert_close(step.noise_pred, mixed)
        # The library's own forward process, undone with the predicted noise, gives the guess.
        noised_again = scheduler.add_noise(
            step.pred_original_sample, step.noise_pred, torch.tensor([step.timestep])
        )
        torch.testing.assert_close(noised_again, step.latents, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["K-LMS", "DDIM", "Euler"])
def test_the_clean_guess_is_the_schedulers(components, name) -> None:
    """Three of the five schedulers report their own guess: ours is the same."""
    scheduler = make_scheduler(name, components.scheduler.config)
    steps = list(walk(components, scheduler=scheduler))
    assert len(steps) == 4
    scheduler.set_timesteps(4)
    for step, t in zip(steps, scheduler.timesteps, strict=True):
        scheduler.scale_model_input(step.latents, t)
        theirs = scheduler.step(step.noise_pred, t, step.latents).pred_original_sample
        torch.testing.assert_close(step.pred_original_sample, theirs, atol=1e-4, rtol=1e-4)


def test_nothing_given_is_changed(components) -> None:
    """Neither the noise, nor the scheduler, nor the global random state."""
    latents = draw(components, 1, small_size(components))
    embeddings = embed(components, PROMPT)
    kept = latents.clone(), embeddings.clone()
    scheduler = make_scheduler("PNDM", components.scheduler.config)
    scheduler.set_timesteps(7)
    state = torch.random.get_rng_state()
    for _ in denoise(components.unet, scheduler, latents, embeddings, num_inference_steps=3):
        assert torch.is_grad_enabled()
    torch.testing.assert_close((latents, embeddings), kept, atol=0, rtol=0)
    assert len(scheduler.timesteps) == 8
    assert scheduler.counter == 0
    assert torch.equal(torch.random.get_rng_state(), state)


def test_two_loops_side_by_side_share_a_scheduler(components) -> None:
    *_, alone = walk(components, guidance_scale=2)
    first, second = (walk(components, guidance_scale=scale) for scale in (2, 9))
    *_, (last, other) = zip(first, second, strict=True)
    torch.testing.assert_close(last.prev_sample, alone.prev_sample, atol=0, rtol=0)
    assert (last.prev_sample - other.prev_sample).abs().max() > 0.1


def test_a_step_may_be_experimented_with(components) -> None:
    """Edited in place, and used where gradients are wanted."""
    *_, step = walk(components)
    step.prev_sample[:, 0] = 0
    weight = torch.ones(1, requires_grad=True)
    (step.noise_pred * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("scheduler_class", [None, EulerAncestralDiscreteScheduler, DDPMScheduler])
def test_the_seed_rules_all_noise(components, lent_pipeline, scheduler_class) -> None:
    """Also that of schedulers that add some at each step, as the library's generator does."""
    if scheduler_class is not None:
        lent_pipeline.scheduler = scheduler_class.from_config(components.scheduler.config)
    state = torch.random.get_rng_state()
    size = small_size(components)
    sizes = {"height": size, "width": size, "num_inference_steps": 3}
    settings = {"scheduler": lent_pipeline.scheduler, "show_progress": False, **sizes}
    first, again, other = (
        generate(components, PROMPT, seed=seed, **settings)[0] for seed in (5, 5, 6)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert levels_apart(first, again).max() == 0
    assert levels_apart(first, other).mean() > 1
    theirs = lent_pipeline(PROMPT, generator=torch.Generator().manual_seed(5), **sizes).images[0]
    assert levels_apart(first, theirs).max() <= 1
    seeds = (5, 6, 7, 8)
    together = generate(
        components, [PROMPT, "a cat"], num_images_per_prompt=2, seed=seeds, **settings
    )
    for place in (1, 2):  # the second of the first prompt, the first of the second
        prompt = [PROMPT, "a cat"][place // 2]
        alone = generate(components, prompt, seed=[seeds[place]], **settings)[0]
        assert levels_apart(together[place], alone).max() <= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: make_generator(1),
        lambda: [make_generator(1)],
        lambda: (make_generator(1),),
    ],
)
def test_the_noise_of_every_step_is_repeatable(components, make) -> None:
    """With one generator, with one for each picture, or with none."""
    scheduler = EulerAncestralDiscreteScheduler.from_config(components.scheduler.config)
    state = torch.random.get_rng_state()
    (*_, first), (*_, again) = (
        walk(components, scheduler=scheduler, generator=make()) for _ in range(2)
    )
    assert torch.equal(first.prev_sample, again.prev_sample)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_threads_may_paint_side_by_side_with_one_model_and_one_scheduler(components) -> None:
    scheduler = make_scheduler("PNDM", components.scheduler.config)

    def paint(seed: int) -> Image.Image:
        settings = {"height": 64, "width": 64, "num_inference_steps": 3, "show_progress": False}
        return generate(components, PROMPT, seed=seed, scheduler=scheduler, **settings)[0]

    with ThreadPoolExecutor(max_workers=4) as threads:
        painted = list(threads.map(paint, range(4)))
    for seed, image in enumerate(painted):
        assert levels_apart(image, paint(seed)).max() <= 1


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_any_precision_of_the_unet(components, dtype, name) -> None:
    """The loop stays in it; the text may be encoded in another. Oracle: all in float32."""
    scheduler = make_scheduler(name, components.scheduler.config)
    latents, embeddings = draw(components, 1, 64), embed(components, PROMPT)
    unet = FakeUNet(components.unet.config)
    *_, exact = denoise(unet, scheduler, latents, embeddings, num_inference_steps=3)
    unet.dtype = dtype
    given = (unet, scheduler, latents.to(dtype), embeddings.to(dtype))
    steps = list(denoise(*given, num_inference_steps=3))
    assert {step.prev_sample.dtype for step in steps} == {dtype}
    tolerance = {torch.float64: 1e-5, torch.float16: 0.02, torch.bfloat16: 0.1}[dtype]
    scale = exact.prev_sample.abs().max()
    difference = (steps[-1].prev_sample.float() - exact.prev_sample).abs().max() / scale
    assert difference < tolerance


@pytest.mark.parametrize(("rows", "columns"), [(9, 16), (16, 11), (3, 5), (1, 1)])
def test_any_size_that_the_factor_divides(components, rows, columns) -> None:
    """Asked for, or that of given latents."""
    factor = vae_scale_factor(components.vae)
    settings = {"num_inference_steps": 1, "show_progress": False}
    height, width = rows * factor, columns * factor
    (image,) = generate(components, PROMPT, height=height, width=width, **settings)
    latents = torch.randn(
        (1, components.unet.config.in_channels, rows, columns), generator=make_generator(0)
    )
    (from_latents,) = generate(components, PROMPT, latents=latents, **settings)
    assert image.size == from_latents.size == (width, height)
    assert levels_apart(image, from_latents).max() == 0


def test_progress_bar_counts_every_turn(components, capsys) -> None:
    size = small_size(components)
    generate(components, PROMPT, height=size, width=size, num_inference_steps=3)
    assert "4/4" in capsys.readouterr().err  # PNDM: one turn more than steps


class ExplodingUNet(torch.nn.Module):
    """A fake UNet whose answer is NaN from a given call on."""

    def __init__(self, unet, first_bad_call: int) -> None:
        super().__init__()
        self.config, self.dtype, self.device = unet.config, unet.dtype, unet.device
        self.first_bad_call, self.num_calls = first_bad_call, 0

    def forward(self, latents, t, encoder_hidden_states, return_dict):
        bad = self.num_calls >= self.first_bad_call
        self.num_calls += 1
        return (torch.full_like(latents, torch.nan if bad else 0.1),)


def test_non_finite_latents_stop_the_loop_and_name_the_step(components) -> None:
    unet = ExplodingUNet(components.unet, first_bad_call=2)
    scheduler = make_scheduler("DDIM", components.scheduler.config)
    steps = walk(components._replace(unet=unet), scheduler=scheduler, num_inference_steps=10)
    assert [next(steps).index, next(steps).index] == [0, 1]
    with pytest.raises(FloatingPointError, match=r"step 2 \(timestep 701\)"):
        next(steps)
    assert unet.num_calls == 3


def roughness(image: Image.Image) -> float:
    """Mean absolute difference of neighbouring pixels, in levels."""
    levels = np.asarray(image, dtype=int)
    return sum(float(np.abs(np.diff(levels, axis=axis)).mean()) for axis in (0, 1))


def test_it_paints_something(components, k_lms) -> None:
    """Notebook 00's prompt and seed: neither noise, nor what the model paints without a prompt.

    Measured: 57 levels from the unconditional picture, and decoded noise is 2.5 times as rough.
    """
    settings = {"seed": 0, "scheduler": k_lms, "num_inference_steps": 15, "show_progress": False}
    image = generate(components, PROMPT, **settings)[0]
    unconditional = generate(components, PROMPT, guidance_scale=0, **settings)[0]
    noise = tensor_to_images(decode_latents(components.vae, draw(components, 1)))[0]
    assert levels_apart(image, unconditional).mean() > 20
    assert roughness(noise) > 1.5 * roughness(image)

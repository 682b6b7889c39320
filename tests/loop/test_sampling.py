"""The loop against the library's pipeline, latent by latent, over the same parts."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EulerAncestralDiscreteScheduler, StableDiffusionPipeline
from PIL import Image

from sdhelpers import denoise, generate
from sdhelpers.guidance import apply_guidance, join_embeddings
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import decode_latents, initial_latents, make_generator, vae_scale_factor
from sdhelpers.model.parts import Components
from sdhelpers.schedule import SCHEDULERS, make_scheduler
from sdhelpers.steps import Step
from sdhelpers.text import encode_prompt
from tests.conftest import PROMPT

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
def use_scheduler(pipeline: StableDiffusionPipeline) -> Iterator:
    """Lend the pipeline another scheduler, and put its own back."""
    own = pipeline.scheduler

    def use(scheduler):
        pipeline.scheduler = scheduler
        return scheduler

    yield use
    pipeline.scheduler = own


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("guidance_scale", [1, 1.5, 7.5])
@pytest.mark.parametrize("num_inference_steps", [1, 20])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_latent_equals_the_pipelines(
    components, pipeline, use_scheduler, name, num_inference_steps, guidance_scale, text
) -> None:
    prompt, negative_prompt = TEXTS[text]
    batch_size = 1 if isinstance(prompt, str) else len(prompt)
    size = small_size(components)
    latents = draw(components, batch_size, size)
    scheduler = use_scheduler(make_scheduler(name, components.scheduler.config))
    settings = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
    expected = run_pipeline(
        pipeline, latents, prompt, negative_prompt, height=size, width=size, **settings
    )

    embeddings = embed(components, prompt, negative_prompt)
    steps = list(denoise(components.unet, scheduler, latents, embeddings, **settings))

    assert len(steps) == len(expected) >= num_inference_steps
    for step, theirs in zip(steps, expected, strict=True):
        assert (step.prev_sample - theirs).abs().max() <= LARGEST_LATENT_DIFFERENCE


def test_the_first_notebooks_own_scheduler(components, pipeline, use_scheduler, k_lms) -> None:
    """K-LMS with SD's betas and the class's own spacing, not that of the model's config."""
    scheduler = use_scheduler(k_lms)
    latents = draw(components, 1)
    expected = run_pipeline(pipeline, latents, PROMPT, None, num_inference_steps=50)
    steps = denoise(components.unet, scheduler, latents, embed(components, PROMPT))
    for step, theirs in zip(steps, expected, strict=True):
        assert (step.prev_sample - theirs).abs().max() <= LARGEST_LATENT_DIFFERENCE


@pytest.mark.parametrize("name", SCHEDULERS)
def test_picture_equals_the_pipelines(components, pipeline, use_scheduler, name) -> None:
    scheduler = use_scheduler(make_scheduler(name, components.scheduler.config))
    latents = draw(components, 2)
    settings = {"negative_prompt": ["a horse", "snow"], "num_inference_steps": 20}
    expected = pipeline(TWO_PROMPTS, latents=latents, **settings).images
    images = generate(
        components,
        TWO_PROMPTS,
        latents=latents,
        scheduler=scheduler,
        show_progress=False,
        **settings,
    )
    by_name = generate(
        components, TWO_PROMPTS, latents=latents, scheduler=name, show_progress=False, **settings
    )
    assert len(images) == len(expected) == 2
    for ours, theirs, named in zip(images, expected, by_name, strict=True):
        assert levels_apart(ours, theirs).max() <= 1
        assert levels_apart(ours, named).max() == 0


def levels_apart(first, second) -> np.ndarray:
    return np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int))


def test_the_pipelines_seed_is_ours(components, pipeline) -> None:
    """A seed draws the noise that the library draws with a CPU generator of that seed."""
    expected = pipeline(PROMPT, generator=torch.Generator().manual_seed(3), num_inference_steps=2)
    ours = generate(components, PROMPT, seed=3, num_inference_steps=2, show_progress=False)
    assert levels_apart(ours[0], expected.images[0]).max() <= 1


def test_several_pictures_for_each_prompt(components, pipeline) -> None:
    latents = draw(components, 4)
    settings = {"num_images_per_prompt": 2, "num_inference_steps": 3}
    expected = pipeline(TWO_PROMPTS, latents=latents, **settings).images
    ours = generate(components, TWO_PROMPTS, latents=latents, show_progress=False, **settings)
    assert len(ours) == len(expected) == 4
    for one, theirs in zip(ours, expected, strict=True):
        assert levels_apart(one, theirs).max() <= 1


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
    expected = walk_by_formula(components, latents, guidance_scale, 5)
    *_, last = denoise(
        components.unet,
        make_scheduler("DDIM", components.scheduler.config),
        latents,
        embed(components, PROMPT),
        num_inference_steps=5,
        guidance_scale=guidance_scale,
    )
    torch.testing.assert_close(last.prev_sample, expected, atol=1e-4, rtol=1e-4)


def last_step(components, embeddings, **settings) -> Step:
    latents = draw(components, 1, small_size(components))
    *_, last = denoise(
        components.unet,
        components.scheduler,
        latents,
        embeddings,
        num_inference_steps=8,
        **settings,
    )
    return last


def test_swapped_order_differs(components) -> None:
    text_embeddings, uncond_embeddings = encode_prompt(
        components.tokenizer, components.text_encoder, PROMPT
    )
    right = last_step(components, join_embeddings(uncond_embeddings, text_embeddings))
    swapped = last_step(components, join_embeddings(text_embeddings, uncond_embeddings))
    assert (right.prev_sample - swapped.prev_sample).abs().max() > 0.5


def test_scale_0_is_the_empty_prompt(components) -> None:
    unconditional = last_step(components, embed(components, PROMPT), guidance_scale=0)
    empty = last_step(components, embed(components, ""), guidance_scale=1)
    torch.testing.assert_close(unconditional.prev_sample, empty.prev_sample, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("guidance_scale", "rows"), [(0, 1), (1, 1), (0.5, 2), (7.5, 2)])
def test_one_unet_call_a_step_undoubled_where_one_will_do(components, guidance_scale, rows) -> None:
    batch_sizes = []
    hook = components.unet.register_forward_pre_hook(
        lambda unet, inputs: batch_sizes.append(len(inputs[0]))
    )
    try:
        step = last_step(components, embed(components, PROMPT), guidance_scale=guidance_scale)
    finally:
        hook.remove()
    assert batch_sizes == [rows] * 9  # PNDM visits its second timestep twice
    assert (step.noise_pred_uncond is None) == (guidance_scale == 1)
    assert (step.noise_pred_text is None) == (guidance_scale == 0)


def test_prompts_alone_will_do_for_scale_1(components) -> None:
    embeddings = embed(components, PROMPT)
    both = last_step(components, embeddings, guidance_scale=1)
    alone = last_step(components, embeddings[1:], guidance_scale=1)
    torch.testing.assert_close(both.prev_sample, alone.prev_sample, atol=0, rtol=0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_step_adds_up(components, name) -> None:
    """Indices, sigmas, the mix and the clean guess, against the library and the definitions."""
    scheduler = make_scheduler(name, components.scheduler.config)
    latents = draw(components, 1, small_size(components))
    steps = list(
        denoise(
            components.unet,
            scheduler,
            latents,
            embed(components, PROMPT),
            num_inference_steps=6,
            guidance_scale=3,
        )
    )
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
    latents = draw(components, 1, small_size(components))
    steps = denoise(
        components.unet, scheduler, latents, embed(components, PROMPT), num_inference_steps=4
    )
    scheduler.set_timesteps(4)
    compared = 0
    for step, t in zip(steps, scheduler.timesteps, strict=True):
        scheduler.scale_model_input(step.latents, t)
        theirs = scheduler.step(step.noise_pred, t, step.latents).pred_original_sample
        torch.testing.assert_close(step.pred_original_sample, theirs, atol=1e-4, rtol=1e-4)
        compared += 1
    assert compared == 4


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
    embeddings = embed(components, PROMPT)
    alone = last_step(components, embeddings, guidance_scale=2)
    latents = draw(components, 1, small_size(components))
    settings = {"num_inference_steps": 8}
    first = denoise(
        components.unet, components.scheduler, latents, embeddings, guidance_scale=2, **settings
    )
    second = denoise(
        components.unet, components.scheduler, latents, embeddings, guidance_scale=9, **settings
    )
    *_, (last, other) = zip(first, second, strict=True)
    torch.testing.assert_close(last.prev_sample, alone.prev_sample, atol=0, rtol=0)
    assert (last.prev_sample - other.prev_sample).abs().max() > 0.1


def test_a_step_may_be_experimented_with(components) -> None:
    """Edited in place, and used where gradients are wanted."""
    step = last_step(components, embed(components, PROMPT))
    step.prev_sample[:, 0] = 0
    weight = torch.ones(1, requires_grad=True)
    (step.noise_pred * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("scheduler_class", [EulerAncestralDiscreteScheduler, DDPMScheduler])
def test_the_seed_rules_the_noise_of_every_step(
    components, pipeline, use_scheduler, scheduler_class
) -> None:
    """Schedulers that add fresh noise draw it from the seed, as the library's generator does."""
    scheduler = use_scheduler(scheduler_class.from_config(components.scheduler.config))
    state = torch.random.get_rng_state()
    settings = {"num_inference_steps": 4, "show_progress": False, "scheduler": scheduler}
    first, again, other = (
        generate(components, PROMPT, seed=seed, **settings)[0] for seed in (5, 5, 6)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert levels_apart(first, again).max() == 0
    assert levels_apart(first, other).mean() > 1
    generator = torch.Generator().manual_seed(5)
    theirs = pipeline(PROMPT, generator=generator, num_inference_steps=4).images[0]
    assert levels_apart(first, theirs).max() <= 1
    pair = generate(components, [PROMPT] * 2, seed=[5, 6], **settings)
    alone = generate(components, PROMPT, seed=[6], **settings)[0]
    assert levels_apart(pair[1], alone).max() <= 1


def test_without_a_generator_the_noise_of_every_step_is_still_repeatable(components) -> None:
    scheduler = EulerAncestralDiscreteScheduler.from_config(components.scheduler.config)
    latents = draw(components, 1, small_size(components))
    embeddings = embed(components, PROMPT)
    state = torch.random.get_rng_state()
    (*_, first), (*_, again) = (
        denoise(components.unet, scheduler, latents, embeddings, num_inference_steps=3)
        for _ in range(2)
    )
    assert torch.equal(first.prev_sample, again.prev_sample)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_same_seed_same_picture_other_seed_other_picture(components) -> None:
    size = small_size(components)
    settings = {"height": size, "width": size, "num_inference_steps": 4, "show_progress": False}
    first, again, other = (
        generate(components, PROMPT, seed=seed, **settings)[0] for seed in (5, 5, 6)
    )
    assert levels_apart(first, again).max() == 0
    assert levels_apart(first, other).mean() > 1


def test_a_seed_for_each_picture(components) -> None:
    size = small_size(components)
    settings = {"height": size, "width": size, "num_inference_steps": 4, "show_progress": False}
    together = generate(components, [PROMPT] * 2, seed=[5, 6], **settings)
    for image, seed in zip(together, (5, 6), strict=True):
        alone = generate(components, PROMPT, seed=[seed], **settings)[0]
        assert levels_apart(image, alone).max() <= 1


@pytest.mark.parametrize(("rows", "columns"), [(9, 16), (16, 11), (3, 5), (1, 1)])
def test_any_size_that_the_factor_divides(components, rows, columns) -> None:
    factor = vae_scale_factor(components.vae)
    image = generate(
        components,
        PROMPT,
        height=rows * factor,
        width=columns * factor,
        num_inference_steps=2,
        show_progress=False,
    )[0]
    assert image.size == (columns * factor, rows * factor)


def test_the_size_of_given_latents_counts(components) -> None:
    factor = vae_scale_factor(components.vae)
    latents = draw(components, 1, 6 * factor)
    image = generate(
        components, PROMPT, latents=latents, num_inference_steps=1, show_progress=False
    )[0]
    assert image.size == (6 * factor, 6 * factor)


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
    latents, embeddings = draw(components, 1), embed(components, PROMPT)
    scheduler = make_scheduler("DDIM", components.scheduler.config)
    steps = denoise(unet, scheduler, latents, embeddings, num_inference_steps=10)
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

    Measured: 51 levels from the unconditional picture, and decoded noise is 3.2 times as rough.
    """
    settings = {"seed": 0, "scheduler": k_lms, "show_progress": False}
    image = generate(components, PROMPT, **settings)[0]
    unconditional = generate(components, PROMPT, guidance_scale=0, **settings)[0]
    noise = tensor_to_images(decode_latents(components.vae, draw(components, 1)))[0]
    assert levels_apart(image, unconditional).mean() > 20
    assert roughness(noise) > 1.5 * roughness(image)

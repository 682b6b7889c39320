"""The exercises of notebook 07: five functions that together are the whole loop.

Each checker compares the reader's function with the helper that does the same. `choose_parts` then
hands out the reader's functions where they are right and ours where they are not yet, so that the
rest of the notebook can go on.
"""

import contextlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sdhelpers.check import Mistake, judge
from sdhelpers.guidance import apply_guidance, join_embeddings, split_prediction
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import decode_latents, initial_latents, make_generator
from sdhelpers.schedule import make_plan
from sdhelpers.text import encode_prompt

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from sdhelpers.model.parts import Components

_PROMPTS = ["an astronaut riding a horse", "a castle at night", ""]
_SEEDS = [0, 7]
_SCALES = [1.0, 4.0, 7.5]
_NUM_PLANNED = 20  # steps of the plan that `predict` is tried on
_NUM_WALKED = 4  # steps that `walk` is tried with
_TOLERANCE = 1e-4


class Parts(NamedTuple):
    """The five functions that notebook 07 assembles."""

    encode: Callable[..., torch.Tensor]
    begin: Callable[..., torch.Tensor]
    predict: Callable[..., torch.Tensor]
    walk: Callable[..., torch.Tensor]
    finish: Callable[..., np.ndarray]


def make_parts(components: "Components") -> Parts:
    """Make the right answers of all five exercises.

    Args:
        components: the five parts of a model.

    Returns:
        Functions
        encode(prompt) -> (2, 77, D), the empty prompt's embeddings, then the prompt's;
        begin(scheduler, seed) -> (1, 4, h, w), noise as strong as the planned scheduler wants it;
        predict(scheduler, latents, t, both_embeddings, guidance_scale) -> (1, 4, h, w), the noise
        prediction after guidance;
        walk(scheduler, latents, both_embeddings, guidance_scale) -> (1, 4, h, w), the latents
        after the last step of the scheduler's plan;
        finish(latents) -> (H, W, 3) uint8 levels, 0 to 255.
    """
    tokenizer, text_encoder, unet, vae, _ = components

    def encode(prompt: str) -> torch.Tensor:
        text_embeddings, uncond_embeddings = encode_prompt(tokenizer, text_encoder, prompt)
        return join_embeddings(uncond_embeddings, text_embeddings)

    def begin(scheduler: "SchedulerMixin", seed: int) -> torch.Tensor:
        return initial_latents(unet, vae, make_generator(seed)) * scheduler.init_noise_sigma

    def predict(
        scheduler: "SchedulerMixin",
        latents: torch.Tensor,
        t: torch.Tensor,
        both_embeddings: torch.Tensor,
        guidance_scale: float,
    ) -> torch.Tensor:
        latent_model_input = scheduler.scale_model_input(torch.cat([latents, latents]), t)
        both = unet(latent_model_input, t, encoder_hidden_states=both_embeddings).sample
        return apply_guidance(*split_prediction(both), guidance_scale)

    def walk(
        scheduler: "SchedulerMixin",
        latents: torch.Tensor,
        both_embeddings: torch.Tensor,
        guidance_scale: float,
    ) -> torch.Tensor:
        for t in scheduler.timesteps:
            noise_pred = predict(scheduler, latents, t, both_embeddings, guidance_scale)
            latents = scheduler.step(noise_pred, t, latents).prev_sample
        return latents

    def finish(latents: torch.Tensor) -> np.ndarray:
        return np.asarray(tensor_to_images(decode_latents(vae, latents))[0])

    return Parts(encode, begin, predict, walk, finish)


def choose_parts(attempts: Parts, components: "Components") -> Parts:
    """Take the reader's functions where they are right, and ours where they are not yet.

    Args:
        attempts: the reader's five functions.
        components: the five parts of a model.

    Returns:
        `Parts`, all of which work. Printed: whose is which.
    """
    checks = (check_encode, check_begin, check_predict, check_walk, check_finish)
    chosen = {}
    for name, attempt, ours, check in zip(
        Parts._fields, attempts, make_parts(components), checks, strict=True
    ):
        with contextlib.redirect_stdout(io.StringIO()) as verdict:
            check(attempt, components)
        is_right = verdict.getvalue().startswith("right")
        chosen[name] = attempt if is_right else ours
        print(f"{name:<8} {'yours' if is_right else 'ours, until yours is right'}")
    return Parts(**chosen)


def check_encode(attempt: Callable[[str], torch.Tensor], components: "Components") -> None:
    """Judge `encode`: prompt -> (2, 77, D)."""
    encode = make_parts(components).encode
    judge(
        attempt,
        encode,
        [(prompt,) for prompt in _PROMPTS],
        praise="two rows of embeddings, the empty prompt's first. That is the order in which the "
        "two predictions will come back.",
        mistakes=[
            Mistake(
                lambda prompt: encode(prompt).flip(0),
                "the prompt comes second. With the two swapped, guidance would push away from it.",
            ),
            Mistake(
                lambda prompt: encode(prompt)[1:],
                "that is the prompt alone. Guidance needs the empty prompt's embeddings, too.",
            ),
            Mistake(
                lambda prompt: torch.cat(
                    [torch.zeros_like(encode(prompt)[:1]), encode(prompt)[1:]]
                ),
                'zeros are not the empty prompt: encode "" like any other text.',
            ),
        ],
        tolerance=_TOLERANCE,
    )


def check_begin(attempt: Callable[..., torch.Tensor], components: "Components") -> None:
    """Judge `begin`: scheduler with a plan, seed -> (1, 4, h, w)."""
    begin = make_parts(components).begin
    plan = make_plan(components.scheduler, _NUM_PLANNED)
    judge(
        attempt,
        begin,
        [(plan, seed) for seed in _SEEDS],
        praise="noise from a generator of its own, as strong as the first step expects it.",
        mistakes=[
            Mistake(
                lambda scheduler, seed: begin(scheduler, seed) / scheduler.init_noise_sigma,
                "the noise is still of strength 1: multiply it by scheduler.init_noise_sigma.",
            ),
            Mistake(
                lambda scheduler, seed: begin(scheduler, seed) / scheduler.init_noise_sigma**2,
                "multiply by scheduler.init_noise_sigma, don't divide.",
            ),
        ],
        tolerance=_TOLERANCE,
    )


def check_predict(attempt: Callable[..., torch.Tensor], components: "Components") -> None:
    """Judge `predict`: one turn's noise prediction after guidance."""
    parts = make_parts(components)
    unet = components.unet

    def unscaled(scheduler, latents, t, both_embeddings, guidance_scale):
        both = unet(torch.cat([latents] * 2), t, encoder_hidden_states=both_embeddings).sample
        return apply_guidance(*split_prediction(both), guidance_scale)

    def swapped(scheduler, latents, t, both_embeddings, guidance_scale):
        return parts.predict(scheduler, latents, t, both_embeddings.flip(0), guidance_scale)

    def added(scheduler, latents, t, both_embeddings, guidance_scale):
        uncond = parts.predict(scheduler, latents, t, both_embeddings, 0.0)
        return uncond + guidance_scale * parts.predict(scheduler, latents, t, both_embeddings, 1.0)

    def unguided(scheduler, latents, t, both_embeddings, guidance_scale):
        return parts.predict(scheduler, latents, t, both_embeddings, 1.0)

    plan = make_plan(components.scheduler, _NUM_PLANNED, unet.device)
    both_embeddings = parts.encode(_PROMPTS[0])
    middle = plan.timesteps[_NUM_PLANNED // 2]
    cases = [(plan, parts.begin(plan, 0), plan.timesteps[0], both_embeddings, _SCALES[2])]
    cases += [(plan, parts.begin(plan, 1), middle, both_embeddings, scale) for scale in _SCALES]
    judge(
        attempt,
        parts.predict,
        cases,
        praise="doubled, scaled, asked once, split, mixed: one turn of the loop but its last line.",
        mistakes=[
            Mistake(unscaled, "the UNet knows latents of about unit variance: scale_model_input."),
            Mistake(swapped, "the two halves are swapped: the empty prompt's prediction is first."),
            Mistake(added, "guidance adds the scaled *difference* of the two to the first."),
            Mistake(unguided, "that is the prompt's prediction alone: mix in the other."),
        ],
        tolerance=_TOLERANCE,
    )


def check_walk(attempt: Callable[..., torch.Tensor], components: "Components") -> None:
    """Judge `walk`: latents before the first step of a plan -> latents after the last."""
    parts = make_parts(components)

    def one_step_less(scheduler, latents, both_embeddings, guidance_scale):
        for t in scheduler.timesteps[:-1]:
            noise_pred = parts.predict(scheduler, latents, t, both_embeddings, guidance_scale)
            latents = scheduler.step(noise_pred, t, latents).prev_sample
        return latents

    def standing(scheduler, latents, both_embeddings, guidance_scale):
        first = latents
        for t in scheduler.timesteps:
            noise_pred = parts.predict(scheduler, first, t, both_embeddings, guidance_scale)
            latents = scheduler.step(noise_pred, t, first).prev_sample
        return latents

    plan = make_plan(components.scheduler, _NUM_WALKED, components.unet.device)
    both_embeddings = parts.encode(_PROMPTS[0])
    judge(
        attempt,
        parts.walk,
        [(plan, parts.begin(plan, seed), both_embeddings, 4.0) for seed in _SEEDS],
        praise="each step begins where the one before it ended. This is the loop.",
        mistakes=[
            Mistake(one_step_less, "the last timestep is missing."),
            Mistake(standing, "every step starts from the first latents: keep prev_sample."),
        ],
        tolerance=_TOLERANCE,
    )


@torch.no_grad()
def check_finish(attempt: Callable[..., np.ndarray], components: "Components") -> None:
    """Judge `finish`: latents -> (H, W, 3) uint8 levels."""
    parts = make_parts(components)
    vae = components.vae

    def pixel_values(latents: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return decode_latents(vae, latents * scale)[0].permute(1, 2, 0).cpu() * 127.5 + 127.5

    def levels(values: torch.Tensor) -> np.ndarray:
        return values.clamp(0, 255).round().to(torch.uint8).numpy()

    plan = make_plan(components.scheduler, _NUM_WALKED, components.unet.device)
    latents = parts.walk(plan, parts.begin(plan, 0), parts.encode(_PROMPTS[1]), 4.0)
    judge(
        attempt,
        parts.finish,
        [(latents,), (2 * latents,)],
        praise="unscaled, decoded, shifted to 0 to 255, clipped, rounded: a picture.",
        mistakes=[
            Mistake(
                lambda latents: levels(pixel_values(latents, vae.config.scaling_factor)),
                "divide by vae.config.scaling_factor before decoding.",
            ),
            Mistake(
                lambda latents: pixel_values(latents).clamp(0, 255).to(torch.uint8).numpy(),
                "round before you convert: converting alone cuts the decimals off.",
            ),
            Mistake(
                lambda latents: levels(pixel_values(latents)).transpose(2, 0, 1),
                "the colours come last in a picture: permute(1, 2, 0).",
            ),
        ],
        tolerance=0.5,
        share=0.01,
    )

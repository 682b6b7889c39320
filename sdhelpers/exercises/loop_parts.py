"""The five functions of notebook 07, written with the helpers: what its exercises are judged by."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from sdhelpers.guidance import apply_guidance, join_embeddings, split_prediction
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import decode_latents, initial_latents, make_generator
from sdhelpers.text import encode_prompt

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from sdhelpers.components import Components


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

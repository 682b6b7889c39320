"""The unrolled denoising loop, and one call that takes prompts to pictures."""

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from tqdm.auto import tqdm

from sdhelpers.guidance import apply_guidance, join_embeddings, split_prediction
from sdhelpers.images import tensor_to_images
from sdhelpers.latents import (
    Generators,
    check_generators,
    decode_latents,
    initial_latents,
    make_generator,
    make_generators,
    match_latents,
)
from sdhelpers.model.device import execution_device
from sdhelpers.model.memory import explained_memory_errors
from sdhelpers.schedule import has_unit_variance, make_plan, make_scheduler, plan_sigmas
from sdhelpers.steps import Step
from sdhelpers.text import as_prompts, encode_text, match_negative_prompts
from sdhelpers.validation import (
    check_finite,
    check_guidance_scale,
    check_noise,
    check_num_images_per_prompt,
    check_scheduler,
    check_text_embeddings,
)

if TYPE_CHECKING:
    from diffusers import SchedulerMixin, UNet2DConditionModel
    from PIL import Image
    from transformers import CLIPTextModel, CLIPTokenizer

    from sdhelpers.model.parts import Components


def denoise(
    unet: "UNet2DConditionModel",
    scheduler: "SchedulerMixin",
    latents: torch.Tensor,
    text_embeddings: torch.Tensor,
    *,
    num_inference_steps: int = 50,
    guidance_scale: float = 7.5,
    generator: Generators | None = None,
) -> Iterator[Step]:
    """Walk from noise to clean latents, yielding each step.

    The operations and their order are those of `StableDiffusionPipeline`. Nothing is decoded or
    drawn here: the caller looks at each Step, and may stop at any time.

    Args:
        unet: predicts noise (`prediction_type` epsilon).
        scheduler: is copied, and the copy plans afresh; the one given is left unchanged, so a
            cell run twice gives the same picture, and two loops may run side by side.
        latents: (B, 4, h, w), unit-variance noise as `initial_latents` draws it. It is
            multiplied by the scheduler's `init_noise_sigma` here, as in the pipeline.
        text_embeddings: (2B, 77, D), [unconditional, text] as `join_embeddings` stacks them; for
            a guidance_scale of exactly 1 the (B, 77, D) of the prompts alone will do.
        num_inference_steps: 1 or more, at most what the scheduler can plan (see `make_plan`).
            PNDM takes one turn more from 2 steps on: it visits its second timestep twice.
        guidance_scale: 0 gives the unconditional picture, 1 the plain conditional one, 7.5 is
            usual. Exactly 0 and exactly 1 cost half. Below 1 the pipeline switches guidance off
            and gives the picture of scale 1; this loop follows the formula.
        generator: for schedulers that add fresh noise in every step (those of the table do not):
            one on the CPU, or one for each of the B. None: a fresh one, seed 0.

    Returns:
        An iterator of Steps, one for each timestep of the plan.

    Raises:
        ValueError: before any computing, if an argument does not fit.
        FloatingPointError: at the step that makes latents NaN or infinite.
    """
    check_scheduler(scheduler)
    check_guidance_scale(guidance_scale)
    check_noise(latents, unet)
    check_text_embeddings(text_embeddings, unet, len(latents), guidance_scale)
    plan = make_plan(scheduler, num_inference_steps, latents.device)
    generator = make_generator(0) if generator is None else generator
    check_generators(generator, len(latents))
    return _walk_plan(unet, plan, latents, text_embeddings, guidance_scale, generator)


# Not inference mode: its tensors refuse in-place edits and gradients ever after, and a Step is
# there to be experimented with.
@torch.no_grad()
def _walk_plan(
    unet: "UNet2DConditionModel",
    scheduler: "SchedulerMixin",
    noise: torch.Tensor,
    text_embeddings: torch.Tensor,
    guidance_scale: float,
    generator: Generators,
) -> Iterator[Step]:
    """Run the loop itself, on checked arguments and a scheduler that has its plan."""
    if guidance_scale in (0, 1) and len(text_embeddings) > len(noise):
        text_embeddings = split_prediction(text_embeddings)[int(guidance_scale)]
    generator = generator if isinstance(generator, torch.Generator) else list(generator)
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    step_options = {"generator": generator} if takes_generator else {}
    sigmas = plan_sigmas(scheduler)
    timestep_numbers = scheduler.timesteps.tolist()
    unit_variance = has_unit_variance(scheduler)
    latents = noise * scheduler.init_noise_sigma
    is_doubled = len(text_embeddings) == 2 * len(latents)

    for index, t in enumerate(scheduler.timesteps):
        latent_model_input = torch.cat([latents] * 2) if is_doubled else latents
        latent_model_input = scheduler.scale_model_input(latent_model_input, t)
        noise_pred = unet(
            latent_model_input, t, encoder_hidden_states=text_embeddings, return_dict=False
        )[0]
        if is_doubled:
            noise_pred_uncond, noise_pred_text = split_prediction(noise_pred)
            noise_pred = apply_guidance(noise_pred_uncond, noise_pred_text, guidance_scale)
        else:
            noise_pred_uncond = noise_pred if guidance_scale == 0 else None
            noise_pred_text = noise_pred if guidance_scale == 1 else None
        prev_sample = scheduler.step(noise_pred, t, latents, return_dict=False, **step_options)[0]
        check_finite(prev_sample, index, timestep_numbers[index])

        yield Step(
            index=index,
            timestep=timestep_numbers[index],
            sigma=sigmas[index],
            signal_scale=(1 + sigmas[index] ** 2) ** -0.5 if unit_variance else 1.0,
            latents=latents,
            noise_pred_uncond=noise_pred_uncond,
            noise_pred_text=noise_pred_text,
            noise_pred=noise_pred,
            prev_sample=prev_sample,
        )
        latents = prev_sample


def generate(
    components: "Components",
    prompt: str | Sequence[str],
    *,
    negative_prompt: str | Sequence[str] | None = None,
    height: int | None = None,
    width: int | None = None,
    num_inference_steps: int = 50,
    guidance_scale: float = 7.5,
    num_images_per_prompt: int = 1,
    seed: int | Sequence[int] = 0,
    latents: torch.Tensor | None = None,
    scheduler: "str | SchedulerMixin | None" = None,
    show_progress: bool = True,
) -> list["Image.Image"]:
    """Paint prompts: text, noise, loop, decode.

    The keywords mean what they mean in `StableDiffusionPipeline`, with `seed` in place of
    `generator` and `scheduler` beside them.

    Args:
        components: the five parts, as `load_components` gives them. Left unchanged.
        prompt: one prompt or several.
        negative_prompt: what to push away from: one for all, or one for each; None: "".
        height: in pixels, a multiple of the VAE's factor; None: the size of training.
        width: likewise.
        num_inference_steps: 1 or more; see `denoise`.
        guidance_scale: 0 unconditional, 1 plain text, 7.5 usual; the built-in model is at its best
            near 3, and PNDM and K-LMS spoil its pictures at 7.5; see `denoise`.
        num_images_per_prompt: pictures for each prompt.
        seed: of all noise: one for the whole batch, or a sequence with one for each picture.
        latents: (B, 4, h, w) unit-variance noise to start from, in place of the seed's.
        scheduler: a name of `schedule.SCHEDULERS`, or an instance; None: the model's own.
        show_progress: draw a progress bar.

    Returns:
        RGB pictures: all of the first prompt, then all of the second, and so on.

    Raises:
        ValueError: before any computing, if an argument does not fit.
        FloatingPointError: at the step that makes latents NaN or infinite.
        torch.OutOfMemoryError: if the device has too little memory, with a note on what helps.
    """
    tokenizer, text_encoder, unet, vae, own_scheduler = components
    scheduler = own_scheduler if scheduler is None else scheduler
    if isinstance(scheduler, str):
        scheduler = make_scheduler(scheduler, own_scheduler.config)
    check_scheduler(scheduler)
    plan = make_plan(scheduler, num_inference_steps, execution_device(unet))
    check_guidance_scale(guidance_scale)
    check_num_images_per_prompt(num_images_per_prompt)
    prompts = as_prompts(prompt)
    negative_prompts = match_negative_prompts(prompts, negative_prompt)
    generator = make_generators(seed)
    size = {
        "batch_size": len(prompts) * num_images_per_prompt,
        "height": height,
        "width": width,
    }
    if latents is None:
        latents = initial_latents(unet, vae, generator, **size)
    else:
        latents = match_latents(unet, vae, latents, **size)
        check_generators(generator, len(latents))

    with explained_memory_errors():
        text_embeddings = _encode(
            tokenizer, text_encoder, prompts, negative_prompts, guidance_scale
        )
        text_embeddings = text_embeddings.repeat_interleave(num_images_per_prompt, dim=0)
        text_embeddings = text_embeddings.to(latents)
        check_text_embeddings(text_embeddings, unet, len(latents), guidance_scale)
        steps = _walk_plan(unet, plan, latents, text_embeddings, guidance_scale, generator)
        for step in tqdm(steps, total=len(plan.timesteps), disable=not show_progress):
            latents = step.prev_sample
        return tensor_to_images(decode_latents(vae, latents))


def _encode(
    tokenizer: "CLIPTokenizer",
    text_encoder: "CLIPTextModel",
    prompts: list[str],
    negative_prompts: list[str],
    guidance_scale: float,
) -> torch.Tensor:
    """Encode both halves of the batch, or only the prompts where scale 1 needs no more."""
    text_embeddings = encode_text(tokenizer, text_encoder, prompts)
    if guidance_scale == 1:
        return text_embeddings
    uncond_embeddings = encode_text(tokenizer, text_encoder, negative_prompts)
    return join_embeddings(uncond_embeddings, text_embeddings)

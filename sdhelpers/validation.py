"""Checks of the loop's arguments: each says what was given, what is allowed and what to do."""

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING

import torch

from sdhelpers.model.device import execution_device

if TYPE_CHECKING:
    from diffusers import SchedulerMixin, UNet2DConditionModel


def is_count(value: object, minimum: int = 1) -> bool:
    """Tell whether a value is an integer, not a bool, and at least the minimum."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= minimum


def check_num_inference_steps(num_inference_steps: int, num_train_timesteps: int) -> None:
    """Raise a ValueError unless the number of steps is from 1 to num_train_timesteps."""
    if not is_count(num_inference_steps) or num_inference_steps > num_train_timesteps:
        raise ValueError(
            "num_inference_steps must be an integer, 1 or more, and not more than the noise "
            f"schedule has ({num_train_timesteps}), got {num_inference_steps!r}. 20 to 50 is usual."
        )


def check_guidance_scale(guidance_scale: float) -> None:
    """Raise a ValueError unless the guidance scale is a finite number."""
    is_number = isinstance(guidance_scale, Real) and not isinstance(guidance_scale, bool)
    if not is_number or not math.isfinite(guidance_scale):
        raise ValueError(
            f"guidance_scale must be a finite number, got {guidance_scale!r}. "
            "0 is unconditional, 1 plain text, 7.5 usual."
        )


def check_num_images_per_prompt(num_images_per_prompt: int) -> None:
    """Raise a ValueError unless this is a positive integer."""
    if not is_count(num_images_per_prompt):
        raise ValueError(
            f"num_images_per_prompt must be a positive integer, got {num_images_per_prompt!r}."
        )


def check_scheduler(scheduler: "SchedulerMixin") -> None:
    """Raise a ValueError unless this is a scheduler, made, for models that predict noise."""
    needed = ("config", "init_noise_sigma", "scale_model_input", "set_timesteps", "step")
    is_whole = all(hasattr(scheduler, name) for name in needed)
    has_levels = hasattr(scheduler, "sigmas") or hasattr(scheduler, "alphas_cumprod")
    if isinstance(scheduler, type) or not (is_whole and has_levels):
        raise ValueError(
            f"scheduler must be a name, or a diffusers scheduler made for noise prediction, got "
            f"{scheduler!r}. make_scheduler(name, config) makes one."
        )
    prediction_type = scheduler.config.get("prediction_type", "epsilon")
    if prediction_type != "epsilon":
        raise ValueError(
            "This loop takes apart models that predict noise (prediction_type 'epsilon'), the "
            f"scheduler says {prediction_type!r}. Use a Stable Diffusion 1 model."
        )


def check_latents(latents: torch.Tensor, num_channels: int) -> None:
    """Raise a ValueError unless these are floats of shape (B, num_channels, h, w), B at least 1."""
    if not isinstance(latents, torch.Tensor):
        given = type(latents).__name__
    elif not latents.is_floating_point():
        given = latents.dtype
    elif latents.ndim != 4 or latents.shape[1] != num_channels or 0 in latents.shape:
        given = tuple(latents.shape)
    else:
        return
    raise ValueError(
        f"latents must be a tensor of shape (B, {num_channels}, h, w), floating point, got "
        f"{given}. initial_latents makes them."
    )


def check_noise(latents: torch.Tensor, unet: "UNet2DConditionModel") -> None:
    """Raise a ValueError unless the UNet can start from these latents."""
    check_latents(latents, unet.config.in_channels)
    check_place("latents", latents, unet)
    if not bool(latents.isfinite().all()):
        raise ValueError("latents hold NaN or infinity before the first step: draw new noise.")


def check_text_embeddings(
    text_embeddings: torch.Tensor,
    unet: "UNet2DConditionModel",
    batch_size: int,
    guidance_scale: float,
) -> None:
    """Raise a ValueError unless there are 2 * batch_size rows of the width that the UNet reads.

    For a guidance_scale of exactly 1, batch_size rows will do.
    """
    width = unet.config.cross_attention_dim
    rows = {2 * batch_size, batch_size} if guidance_scale == 1 else {2 * batch_size}
    shape = tuple(getattr(text_embeddings, "shape", ()))
    if len(shape) != 3 or shape[0] not in rows or shape[2] != width:
        raise ValueError(
            f"text_embeddings must have shape ({2 * batch_size}, length, {width}) for "
            f"{batch_size} picture(s): unconditional rows first, then text. Got "
            f"{shape or type(text_embeddings).__name__}. Use join_embeddings."
        )
    check_place("text_embeddings", text_embeddings, unet)


def check_place(name: str, tensor: torch.Tensor, unet: "UNet2DConditionModel") -> None:
    """Raise a ValueError unless a tensor has the UNet's dtype, and the device it computes on."""
    device = execution_device(unet)
    if tensor.dtype != unet.dtype or not _is_same_device(tensor.device, device):
        raise ValueError(
            f"{name} are {tensor.dtype} on {tensor.device}, the UNet is {unet.dtype} on "
            f"{device}: use {name}.to(device={str(device)!r}, dtype=unet.dtype)."
        )


def _is_same_device(one: torch.device, other: torch.device) -> bool:
    """Compare devices; "cuda" means the first of them, "cuda:0"."""
    return (one.type, one.index or 0) == (other.type, other.index or 0)


def check_finite(prev_sample: torch.Tensor, index: int, timestep: float) -> None:
    """Raise a FloatingPointError that names the step if its result is NaN or infinite."""
    if not bool(prev_sample.isfinite().all()):
        raise FloatingPointError(
            f"The latents became NaN or infinite in step {index} (timestep {timestep:g}). "
            "Try a smaller guidance_scale, or load the parts in float32."
        )

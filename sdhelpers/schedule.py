"""Noise schedules: how much noise each timestep means, and which timesteps a run visits.

First by hand, as notebook 05 builds them; then through the library's schedulers, as the loop uses
them.
"""

import copy
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
)

from sdhelpers.validation import check_num_inference_steps

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


def make_betas(
    num_train_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012
) -> torch.Tensor:
    """Make the betas of the schedule called "scaled linear": their roots rise in equal steps.

    Args:
        num_train_timesteps: T, the number of noise levels that the model was trained on.
        beta_start: the first. The defaults are those of Stable Diffusion 1.
        beta_end: the last.

    Returns:
        (T,) in (0, 1), rising: the share of the variance that a level replaces by noise.

    Source: Rombach et al. 2022, Latent Diffusion Models, arXiv 2112.10752, and its code.
    """
    return torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps) ** 2


def betas_to_alphas_cumprod(betas: torch.Tensor) -> torch.Tensor:
    """Multiply up what each level keeps of the picture's variance.

    Args:
        betas: (T,) in (0, 1).

    Returns:
        (T,) in (0, 1), falling: entry t is the product of 1 - beta over the levels 0 to t.

    Source: Ho et al. 2020, arXiv 2006.11239, above equation 4.
    """
    return torch.cumprod(1 - betas, dim=0)


def alphas_cumprod_to_sigmas(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Convert to noise-to-signal ratios.

    Args:
        alphas_cumprod: any shape, (0, 1].

    Returns:
        Same shape, from 0 up: sqrt((1 - abar) / abar). DDIM's paper calls something else sigma,
        the noise *added* per step; here that is `std_dev_t`.
    """
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


def sigmas_to_alphas_cumprod(sigmas: torch.Tensor) -> torch.Tensor:
    """Convert noise-to-signal ratios back: abar = 1 / (1 + sigma^2).

    Args:
        sigmas: any shape, 0 or more.

    Returns:
        Same shape, (0, 1].
    """
    return 1 / (1 + sigmas**2)


def add_noise(
    latents: torch.Tensor, noise: torch.Tensor, alphas_cumprod: torch.Tensor | float
) -> torch.Tensor:
    """Jump from clean latents to any noise level at once.

    Args:
        latents: (B, 4, h, w), clean, about unit variance.
        noise: likewise, unit variance.
        alphas_cumprod: the level's entry: a number, or (B,) with one for each of the B.

    Returns:
        (B, 4, h, w), about unit variance again: sqrt(abar) * latents + sqrt(1 - abar) * noise.
        The arguments are unchanged.

    Raises:
        ValueError: if latents and noise differ in shape.

    Source: Ho et al. 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239, equation 4.
    """
    if latents.shape != noise.shape:
        raise ValueError(
            f"latents {tuple(latents.shape)} and noise {tuple(noise.shape)} must have the same "
            "shape: each number gets noise of its own."
        )
    abar = torch.as_tensor(alphas_cumprod).to(latents)
    if abar.ndim == 1:
        abar = abar.reshape(-1, *[1] * (latents.ndim - 1))
    return abar.sqrt() * latents + (1 - abar).sqrt() * noise


def plan_timesteps(
    num_inference_steps: int, num_train_timesteps: int = 1000, *, spacing: str = "leading"
) -> torch.Tensor:
    """Spread a few timesteps over the many that the model was trained on.

    Args:
        num_inference_steps: S, 1 or more and fewer than T.
        num_train_timesteps: T.
        spacing: "leading" ends at timestep 1 and rises by T // S, as Stable Diffusion's own
            PNDM and DDIM do (`steps_offset=1`). "linspace" spreads evenly from T - 1 to 0, with
            stops between the levels, as K-LMS and Euler do when made without a model's config.

    Returns:
        (S,) descending; int64 for "leading", float32 for "linspace".

    Raises:
        ValueError: if S is out of range or the spacing is neither.

    Source: the names are those of Lin et al. 2023, arXiv 2305.08891, table 2.
    """
    if not 1 <= num_inference_steps < num_train_timesteps:
        raise ValueError(
            f"num_inference_steps must be from 1 to {num_train_timesteps - 1}, "
            f"got {num_inference_steps}."
        )
    if spacing == "leading":
        stride = num_train_timesteps // num_inference_steps
        return torch.arange(num_inference_steps).flip(0) * stride + 1
    if spacing == "linspace":
        return torch.linspace(0, num_train_timesteps - 1, num_inference_steps).flip(0)
    raise ValueError(f"spacing must be 'leading' or 'linspace', got {spacing!r}.")


def interpolate_sigmas(timesteps: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Look up the sigmas of a plan made by hand, on straight lines between the levels.

    `plan_sigmas` asks a scheduler of the library instead, and gives no end.

    Args:
        timesteps: (S,) descending, in [0, T - 1], whole or not.
        sigmas: (T,) of all levels.

    Returns:
        (S + 1,) descending: before each step, and after the last, where it is 0, no noise at all.
    """
    places = timesteps.to(sigmas)
    below = places.floor().long()
    above = (below + 1).clamp(max=len(sigmas) - 1)
    between = torch.lerp(sigmas[below], sigmas[above], places - below)
    return torch.cat([between, torch.zeros(1).to(sigmas)])


SCHEDULERS: dict[str, type] = {
    "K-LMS": LMSDiscreteScheduler,
    "PNDM": PNDMScheduler,
    "DDIM": DDIMScheduler,
    "Euler": EulerDiscreteScheduler,
    "DPM-Solver++": DPMSolverMultistepScheduler,
}


def make_scheduler(name: str, config: Mapping, **changes: object) -> "SchedulerMixin":
    """Make a scheduler by name that keeps the betas of a model's own.

    Args:
        name: a key of `SCHEDULERS`.
        config: of the model's own scheduler (`scheduler.config`); what the new class does not
            know is ignored, as in the pipeline's recipe `SomeScheduler.from_config(config)`. What
            the model's file leaves open, each class fills in its own way: with v1-4's, PNDM and
            DDIM space their timesteps "leading", Euler and K-LMS "linspace".
        changes: entries of the config that shall be different, such as timestep_spacing; one that
            another class of the table knows, and this one does not, is ignored, too.

    Returns:
        A new scheduler, without a plan until `set_timesteps` is called.

    Raises:
        ValueError: if the name is not in the table, or a change is a setting of none.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"Unknown scheduler {name!r}. Known are: {', '.join(SCHEDULERS)}.")
    known = set().union(*(inspect.signature(one).parameters for one in SCHEDULERS.values()))
    if unknown := sorted(set(changes) - known):
        raise ValueError(
            f"No scheduler has a setting {', '.join(unknown)}. Known are: "
            f"{', '.join(sorted(known))}."
        )
    return SCHEDULERS[name].from_config(config, **changes)


def make_plan(
    scheduler: "SchedulerMixin", num_inference_steps: int, device: "torch.device | str" = "cpu"
) -> "SchedulerMixin":
    """Copy a scheduler and plan its timesteps.

    A scheduler remembers where it is. A fresh copy for each run means that running twice gives
    the same result, and that the one given stays as it was.

    Args:
        scheduler: any of diffusers.
        num_inference_steps: 1 or more. The most that fits depends on the spacing: with Stable
            Diffusion 1's, 999 of 1000, and 998 for DPM-Solver++.
        device: where its timesteps shall live.

    Returns:
        A scheduler with `timesteps` (descending), and with sigmas if its class has them.

    Raises:
        ValueError: if the number of steps is out of range, or so large that the plan would begin
            past the end of the noise schedule, or stand still.
    """
    num_train_timesteps = scheduler.config.num_train_timesteps
    check_num_inference_steps(num_inference_steps, num_train_timesteps)
    plan = copy.deepcopy(scheduler)
    plan.set_timesteps(num_inference_steps, device=device)
    first, last = int(plan.timesteps[0]), int(plan.timesteps[-1])
    if first >= num_train_timesteps or (num_inference_steps > 1 and first == last):
        raise ValueError(
            f"num_inference_steps={num_inference_steps} is too many for {type(plan).__name__} "
            f"with its spacing: the plan would run from timestep {first} to {last}, on a noise "
            f"schedule of 0 to {num_train_timesteps - 1}. Take fewer; 20 to 50 is usual."
        )
    return plan


def plan_sigmas(scheduler: "SchedulerMixin") -> list[float]:
    """Read the sigmas of a plan that a scheduler of the library made.

    `interpolate_sigmas` computes those of a plan made by hand, and adds the end.

    Args:
        scheduler: with a plan (`set_timesteps` was called).

    Returns:
        One sigma for each entry of `scheduler.timesteps`, the noise-to-signal ratio before that
        step, as `alphas_cumprod_to_sigmas` defines it.
    """
    if hasattr(scheduler, "sigmas"):
        return scheduler.sigmas[: len(scheduler.timesteps)].tolist()
    # `add_noise` leaves alphas_cumprod on the device of what it was given, and Apple's GPU has no
    # double precision.
    abar = scheduler.alphas_cumprod.cpu()[scheduler.timesteps.cpu()].double()
    return alphas_cumprod_to_sigmas(abar).tolist()


def has_unit_variance(scheduler: "SchedulerMixin") -> bool:
    """Tell whether a scheduler's noisy latents keep unit variance.

    There are two conventions. DDIM, PNDM and DPM-Solver++ mix: sqrt(abar) * clean latents +
    sqrt(1 - abar) * noise. K-LMS and Euler add: clean latents + sigma * noise, and shrink the
    sum just before the UNet (`scale_model_input`); they start from noise times
    `init_noise_sigma`, which is 1 for the others.

    Args:
        scheduler: with a plan.

    Returns:
        True for the first convention.
    """
    return float(scheduler.init_noise_sigma) == 1.0

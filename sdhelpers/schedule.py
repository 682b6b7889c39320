"""Noise schedules: which schedulers the series uses, and how noisy each step of a plan is."""

import copy
import inspect
from typing import TYPE_CHECKING

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
)

from sdhelpers.validation import check_num_inference_steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from diffusers import SchedulerMixin

SCHEDULERS: dict[str, type] = {
    "K-LMS": LMSDiscreteScheduler,
    "PNDM": PNDMScheduler,
    "DDIM": DDIMScheduler,
    "Euler": EulerDiscreteScheduler,
    "DPM-Solver++": DPMSolverMultistepScheduler,
}


def make_scheduler(name: str, config: "Mapping", **changes: object) -> "SchedulerMixin":
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
    """Give the noise-to-signal ratio before each step of a plan.

    Args:
        scheduler: with a plan (`set_timesteps` was called).

    Returns:
        One sigma for each entry of `scheduler.timesteps`: sqrt((1 - abar) / abar) with abar the
        entry of alphas_cumprod at that timestep. DDIM's papers call something else sigma: the
        noise *added* per step, here `std_dev_t`.
    """
    if hasattr(scheduler, "sigmas"):
        return scheduler.sigmas[: len(scheduler.timesteps)].tolist()
    # `add_noise` leaves alphas_cumprod on the device of what it was given, and Apple's GPU has no
    # double precision.
    abar = scheduler.alphas_cumprod.cpu()[scheduler.timesteps.cpu()].double()
    return ((1 - abar) / abar).sqrt().tolist()


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

"""The steps that the loop hands over, and what can be read from a stored run of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch

from sdhelpers.guidance import apply_guidance
from sdhelpers.validation import check_guidance_scale, is_count


@dataclass(frozen=True, eq=False)
class Step:
    """What one turn of the loop saw and did; all tensors (B, 4, h, w), on the UNet's device.

    The tensors are the loop's own, not copies. Editing `prev_sample` in place while the loop runs
    steers it (but for PNDM's first turn: its second begins again with the first latents); clone any
    other before editing, since some schedulers remember it.

    Attributes:
        index: place in the plan, from 0.
        timestep: the noise level as the UNet counts it, [0, num_train_timesteps).
        sigma: the noise-to-signal ratio at that timestep.
        signal_scale: what the clean latents are multiplied by inside `latents`: sqrt(abar) for
            DDIM, PNDM and DPM-Solver++, 1 for K-LMS and Euler.
        latents: before the step.
        noise_pred_uncond: prediction for the empty or negative prompt; None if guidance_scale
            is exactly 1, where it is neither needed nor computed.
        noise_pred_text: prediction for the prompt; None if guidance_scale is exactly 0.
        noise_pred: the two, mixed by guidance.
        prev_sample: after the step. "Previous" counts in diffusion time: here it comes next.
    """

    index: int
    timestep: float
    sigma: float
    signal_scale: float
    latents: torch.Tensor
    noise_pred_uncond: torch.Tensor | None
    noise_pred_text: torch.Tensor | None
    noise_pred: torch.Tensor
    prev_sample: torch.Tensor

    @cached_property
    def pred_original_sample(self) -> torch.Tensor:
        """The current guess of the clean latents, computed when first asked for.

        It solves latents = signal_scale * (clean + sigma * noise) for the clean latents, with
        the predicted noise in place of the true one (arXiv 2010.02502, equation 9).
        """
        return self.latents / self.signal_scale - self.sigma * self.noise_pred


def unit_latents(step: Step) -> torch.Tensor:
    """Give a step's latents with about unit variance, as the UNet sees them.

    They are signal_scale * (clean + sigma * noise), and clean and noise have unit variance.
    """
    return step.latents / (step.signal_scale * (1 + step.sigma**2) ** 0.5)


def guidance_difference(step: Step) -> torch.Tensor | None:
    """Give text minus unconditional prediction; None if the step does not hold both."""
    if step.noise_pred_uncond is None or step.noise_pred_text is None:
        return None
    return step.noise_pred_text - step.noise_pred_uncond


def check_both_predictions(step: Step) -> None:
    """Raise a ValueError unless this is a Step with an unconditional and a text prediction."""
    if not isinstance(step, Step):
        raise ValueError(f"step must be a Step, as denoise(...) yields it, got {step!r}.")
    missing = [
        name for name in ("noise_pred_uncond", "noise_pred_text") if getattr(step, name) is None
    ]
    if missing:
        raise ValueError(
            f"Step {step.index} holds no {' and no '.join(missing)}: a run with a guidance_scale "
            "of exactly 0 or 1 computes only one of the two. Run denoise with another scale, "
            "such as 7.5; any scale can be mixed from its steps."
        )


def remix_step(step: Step, guidance_scale: float) -> Step:
    """Give the step as another guidance scale would have seen it.

    Args:
        step: one that holds both predictions; left unchanged.
        guidance_scale: 0 unconditional, 1 plain text, 7.5 usual.

    Returns:
        A new Step from the same latents: `noise_pred` is `apply_guidance` of the two stored
        predictions, to the last bit, and `pred_original_sample` follows from it. `prev_sample`
        stays that of the run: the scheduler did not step again.

    Raises:
        ValueError: if a prediction is missing, or the scale is no finite number.
    """
    check_guidance_scale(guidance_scale)
    check_both_predictions(step)
    mixed = apply_guidance(step.noise_pred_uncond, step.noise_pred_text, guidance_scale)
    return replace(step, noise_pred=mixed)


def pick_picture(steps: Sequence[Step], picture: int = 0) -> list[Step]:
    """Give the steps of one picture of a batch, tensors (1, 4, h, w).

    Raises:
        ValueError: if these are no steps, or there is no such picture.
    """
    is_run = isinstance(steps, Sequence) and all(isinstance(step, Step) for step in steps)
    if not is_run or not steps:
        given = "an empty one" if is_run else repr(steps)
        raise ValueError(f"steps must be a stored run, such as list(denoise(...)), got {given}.")
    shapes = {tuple(step.latents.shape) for step in steps}
    if len(shapes) > 1:
        raise ValueError(f"steps must belong to one run, got latents of shapes {sorted(shapes)}.")
    batch_size = len(steps[0].latents)
    if not is_count(picture, minimum=0) or picture >= batch_size:
        raise ValueError(
            f"picture must be an integer from 0 to {batch_size - 1}, got {picture!r}: the run "
            f"painted {batch_size}."
        )
    return [_pick(step, picture) for step in steps]


def _pick(step: Step, picture: int) -> Step:
    """Give one picture's part of a step."""
    values = {field.name: getattr(step, field.name) for field in fields(step)}
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    return replace(step, **{name: value[picture, None] for name, value in tensors.items()})


def measure_run(steps: Sequence[Step]) -> dict[str, list[float]]:
    """Give the sizes of a run's tensors, and sigma, step by step.

    Args:
        steps: a stored run.

    Returns:
        name -> one number for each step: the root mean square, which is the norm divided by the
        square root of the number of values, so that pictures of any size compare.
    """
    tensors = {
        "latents": [step.latents for step in steps],
        "clean guess": [step.pred_original_sample for step in steps],
        "noise prediction": [step.noise_pred for step in steps],
        "guidance difference": [guidance_difference(step) for step in steps],
    }
    sizes = {
        name: [value.float().square().mean().sqrt().item() for value in values]
        for name, values in tensors.items()
        if all(value is not None for value in values)
    }
    return sizes | {"sigma": [step.sigma for step in steps]}

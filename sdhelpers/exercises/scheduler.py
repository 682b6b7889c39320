"""The exercises of notebook 05, the scheduler."""

import math
from collections.abc import Callable

import torch

from sdhelpers.check import Function, Mistake, judge
from sdhelpers.latents import make_generator
from sdhelpers.lessons.solvers import lms_weights
from sdhelpers.schedule import sigmas_to_alphas_cumprod

Slope = Callable[[torch.Tensor, float], torch.Tensor]


def check_sigmas_to_alphas_cumprod(attempt: Function) -> None:
    """Judge a function from sigmas to alphas_cumprod.

    Args:
        attempt: takes sigmas of any shape, gives alphas_cumprod of the same shape.
    """
    judge(
        attempt,
        sigmas_to_alphas_cumprod,
        [(torch.tensor([0.0, 0.0292, 1.0, 14.6146]),), (torch.linspace(0.1, 3, 6).reshape(2, 3),)],
        praise="a sigma of 0 is all signal, a sigma of 1 is half and half, 14.6 leaves 0.00466. "
        "The two numbers say the same; papers choose the one that makes their formula short.",
        mistakes=[
            Mistake(
                lambda sigmas: 1 / (1 + sigmas),
                "Sigma is a ratio of standard deviations, abar a share of the variance: square "
                "the sigma.",
            ),
            Mistake(
                lambda sigmas: 1 / (1 + sigmas**2) ** 0.5,
                "That is sqrt(abar), what the clean latents are multiplied by.",
            ),
            Mistake(
                lambda sigmas: sigmas**2 / (1 + sigmas**2),
                "That is 1 - abar, the share of the noise.",
            ),
        ],
    )


def check_trailing_plan(attempt: Function) -> None:
    """Judge a function that plans timesteps with "trailing" spacing.

    Args:
        attempt: takes num_inference_steps and num_train_timesteps, gives the timesteps,
            descending: a list, or a tensor.
    """
    judge(
        _as_lists(attempt),
        _plan_trailing,
        [(4, 1000), (3, 1000), (10, 1000), (7, 50)],
        praise="the plan begins at the very last level, the noisiest of training, and stops one "
        "stride before the end. These are the timesteps of diffusers' timestep_spacing='trailing'.",
        mistakes=[
            Mistake(
                lambda steps, levels: [t + 1 for t in _plan_trailing(steps, levels)],
                "Levels count from 0, so the last of 1000 is 999.",
            ),
            Mistake(
                lambda steps, levels: [levels - 1 - k * (levels // steps) for k in range(steps)],
                "The stride is levels / steps, not rounded down; round each timestep instead.",
            ),
            Mistake(
                lambda steps, levels: [k * (levels // steps) + 1 for k in range(steps)][::-1],
                'That is "leading", which you know already: it ends at 1 and misses the top. '
                "Count down from the top instead.",
            ),
            Mistake(
                lambda steps, levels: _plan_trailing(steps, levels)[::-1],
                "The right timesteps, in the wrong order: sampling runs from noise to picture.",
            ),
        ],
    )


def check_heun_step(attempt: Function) -> None:
    """Judge a step that looks ahead, then takes the mean of two slopes.

    Args:
        attempt: takes latents, sigma, next_sigma and a function `slope(latents, sigma)`; gives
            the latents at next_sigma.
    """
    latents = torch.randn((1, 4, 2, 2), generator=make_generator(0))
    judge(
        attempt,
        _step_heun,
        [(latents, 3.0, 2.0, _slope), (latents * 2, 1.0, 0.25, _slope)],
        praise="a slope at each end, and their mean for the way: Heun's method, and algorithm 1 of "
        "Karras et al. PNDM begins with it, which is why it asks the UNet one time more.",
        mistakes=[
            Mistake(
                lambda x, sigma, next_sigma, slope: x + (next_sigma - sigma) * slope(x, sigma),
                "That is Euler's step, the first try. Ask for the slope where it arrives, too.",
            ),
            Mistake(
                lambda x, sigma, next_sigma, slope: _step_heun(
                    x, sigma, next_sigma, lambda at, _: slope(at, sigma)
                ),
                "The second slope belongs to the end of the step: ask for it at next_sigma.",
            ),
            Mistake(
                lambda x, sigma, next_sigma, slope: (
                    x + 2 * (_step_heun(x, sigma, next_sigma, slope) - x)
                ),
                "You took the sum of the two slopes; take their mean, or the step is twice as big.",
            ),
            Mistake(_step_from_first_try, "Take the second step from the start, not from the try."),
        ],
    )


def check_two_point_weights(attempt: Function) -> None:
    """Judge K-LMS's two weights for steps of unequal length.

    Args:
        attempt: takes older_sigma, sigma and next_sigma; gives [weight of the newest prediction,
            weight of the older one].
    """
    judge(
        _as_lists(attempt),
        lambda older, now, after: lms_weights(_levels(older, now, after), 1, 2),
        [(14.6, 9.7, 6.8), (3.0, 2.0, 1.0), (0.5, 0.2, 0.0)],
        praise="the mean height of a straight line is its height in the middle of the step. With "
        "equal steps the weights are 3/2 and -1/2 of it, PNDM's second row.",
        mistakes=[
            Mistake(
                lambda older, now, after: [1.5 * (after - now), -0.5 * (after - now)],
                "3/2 and -1/2 hold for equal steps. Where is the middle of this step, seen from "
                "the two sigmas that you know?",
            ),
            Mistake(
                lambda older, now, after: lms_weights(_levels(older, now, after), 1, 2)[::-1],
                "The right weights, in the wrong order: the newest first.",
            ),
            Mistake(
                lambda older, now, after: [
                    weight / (after - now)
                    for weight in lms_weights(_levels(older, now, after), 1, 2)
                ],
                "These add up to 1: they give the mean slope. Multiply by the length of the step.",
            ),
            Mistake(
                lambda older, now, after: [
                    -w for w in lms_weights(_levels(older, now, after), 1, 2)
                ],
                "The signs are turned round: sigma falls, so the step next_sigma - sigma is "
                "negative.",
            ),
        ],
    )


def _plan_trailing(num_inference_steps: int, num_train_timesteps: int) -> list[int]:
    """Count down from the top by equal strides, rounded as numpy does (halves to even)."""
    stride = num_train_timesteps / num_inference_steps
    return [round(num_train_timesteps - k * stride) - 1 for k in range(num_inference_steps)]


def _step_heun(
    latents: torch.Tensor, sigma: float, next_sigma: float, slope: Slope
) -> torch.Tensor:
    """Take Euler's step, look at the slope there, and go again with the mean of both."""
    first_slope = slope(latents, sigma)
    first_try = latents + (next_sigma - sigma) * first_slope
    second_slope = slope(first_try, next_sigma)
    return latents + (next_sigma - sigma) * (first_slope + second_slope) / 2


def _step_from_first_try(
    latents: torch.Tensor, sigma: float, next_sigma: float, slope: Slope
) -> torch.Tensor:
    """Make the mistake of going on from the first try."""
    first_try = latents + (next_sigma - sigma) * slope(latents, sigma)
    return first_try + _step_heun(latents, sigma, next_sigma, slope) - latents


def _slope(latents: torch.Tensor, sigma: float) -> torch.Tensor:
    """Give a smooth slope that depends on both."""
    return torch.sin(latents) + math.cos(sigma) * latents / (1 + sigma)


def _levels(*sigmas: float) -> torch.Tensor:
    """Give a plan of these sigmas, exactly."""
    return torch.tensor(sigmas, dtype=torch.float64)


def _as_lists(attempt: Function) -> Function:
    """Let an attempt give a tensor, an array or a tuple where a list is expected."""
    if not callable(attempt):
        return attempt

    def attempt_list(*arguments: object) -> object:
        result = attempt(*arguments)
        result = result.tolist() if hasattr(result, "tolist") else result
        if isinstance(result, list | tuple):
            return [item.item() if hasattr(item, "item") else item for item in result]
        return result

    return attempt_list

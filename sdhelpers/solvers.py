"""One step of DDIM, Euler, K-LMS and PNDM, each as a pure function; whole runs: `solver_runs`.

Nothing here remembers anything: what a step needs of the past is an argument. The tests compare
every latent of whole runs with diffusers' schedulers.

Two kinds of latents, as everywhere: DDIM and PNDM keep unit variance and count noise in
alphas_cumprod ("abar"); Euler and K-LMS add noise to clean latents, count it in sigmas, and
divide by sqrt(sigma^2 + 1) before they ask for a prediction. "prev" counts in diffusion time: it
is what comes next.
"""

from collections.abc import Sequence

import torch

# Adams and Bashforth's weights for equal steps, newest prediction first.
MULTISTEP_WEIGHTS: dict[int, tuple[float, ...]] = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


def step_ddim(
    latents: torch.Tensor,
    noise_pred: torch.Tensor,
    abar: torch.Tensor,
    prev_abar: torch.Tensor,
) -> torch.Tensor:
    """Take one DDIM step, without fresh noise (eta = 0).

    Args:
        latents: (B, 4, h, w), unit variance.
        noise_pred: (B, 4, h, w), the UNet's answer for them.
        abar: the entry of alphas_cumprod at the present timestep, in (0, 1).
        prev_abar: at the timestep to go to; 1 means no noise at all.

    Returns:
        prev_sample: (B, 4, h, w), new.

    Source: Song et al. 2020, arXiv 2010.02502, equation 12 with sigma_t = 0.
    """
    pred_original_sample = (latents - (1 - abar) ** 0.5 * noise_pred) / abar**0.5
    direction = (1 - prev_abar) ** 0.5 * noise_pred
    return prev_abar**0.5 * pred_original_sample + direction


def step_euler(
    latents: torch.Tensor,
    noise_pred: torch.Tensor,
    sigma: torch.Tensor | float,
    next_sigma: torch.Tensor | float,
) -> torch.Tensor:
    """Take one Euler step: noise_pred is the slope of the latents over sigma; follow it.

    Args:
        latents: (B, 4, h, w), clean plus sigma times noise.
        noise_pred: (B, 4, h, w), the UNet's answer for the scaled latents.
        sigma: the present noise-to-signal ratio.
        next_sigma: the one to go to, smaller.

    Returns:
        prev_sample: (B, 4, h, w), new.

    Source: Karras et al. 2022, arXiv 2206.00364, algorithm 1 without its second-order correction.
    """
    return latents + (next_sigma - sigma) * noise_pred


def lms_weights(sigmas: torch.Tensor, index: int, order: int = 4) -> list[float]:
    """Compute K-LMS's weights of the newest predictions for one step.

    Lay the polynomial through the last predictions over sigma; the step is the area under it. A
    prediction's weight is the area under its Lagrange polynomial, which is 1 at its own sigma and
    0 at the others. Simpson's rule gives the area exactly, up to cubic polynomials.

    Args:
        sigmas: (S + 1,) descending, of the plan.
        index: of the step, from 0; the step goes from sigmas[index] to sigmas[index + 1].
        order: 1 to 4, how many predictions to use; at the start of a run there are fewer.

    Returns:
        One weight for each prediction used, newest first. They sum up to the step's length.

    Raises:
        ValueError: if the order is not from 1 to 4.

    Source: the linear multistep sampler of Crowson's k-diffusion, for the equation of Karras et
        al. 2022, arXiv 2206.00364.
    """
    if not 1 <= order <= 4:
        raise ValueError(f"order must be from 1 to 4, got {order}: Simpson's rule ends at cubics.")
    levels = sigmas.tolist()
    nodes = levels[max(0, index - order + 1) : index + 1][::-1]
    start, end = levels[index], levels[index + 1]
    weights = []
    for own in nodes:
        others = [node for node in nodes if node != own]
        at_start, in_the_middle, at_end = (
            _lagrange(place, own, others) for place in (start, (start + end) / 2, end)
        )
        weights.append((end - start) * (at_start + 4 * in_the_middle + at_end) / 6)
    return weights


def _lagrange(place: float, own: float, others: Sequence[float]) -> float:
    """Give the polynomial that is 1 at `own` and 0 at the others, at one place."""
    value = 1.0
    for other in others:
        value *= (place - other) / (own - other)
    return value


def step_k_lms(
    latents: torch.Tensor,
    noise_preds: Sequence[torch.Tensor],
    sigmas: torch.Tensor,
    index: int,
    order: int = 4,
) -> torch.Tensor:
    """Take one K-LMS step: like Euler's, with a weighted sum of the last predictions as slope.

    Args:
        latents: (B, 4, h, w), clean plus sigma times noise.
        noise_preds: the run's predictions so far, oldest first, the newest for these latents.
        sigmas: (S + 1,) of the plan.
        index: of the step, from 0.
        order: how many predictions to use, 1 to 4.

    Returns:
        prev_sample: (B, 4, h, w), new.

    Source: as `lms_weights`.
    """
    weights = lms_weights(sigmas, index, order)
    return latents + _weighted_sum(weights, noise_preds)


def mix_predictions(noise_preds: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mix the last predictions, up to four, as PNDM does: K-LMS's weights for equal steps.

    Args:
        noise_preds: (B, 4, h, w) each, oldest first.

    Returns:
        (B, 4, h, w), new.

    Raises:
        ValueError: if there is none.

    Source: Liu et al. 2022, Pseudo Numerical Methods, arXiv 2202.09778, linear multi-step.
    """
    if not noise_preds:
        raise ValueError("mix_predictions needs at least one prediction.")
    weights = MULTISTEP_WEIGHTS[min(len(noise_preds), 4)]
    return _weighted_sum(weights, noise_preds)


def _weighted_sum(weights: Sequence[float], noise_preds: Sequence[torch.Tensor]) -> torch.Tensor:
    """Add up the last predictions; the weights come newest first, the predictions oldest first."""
    newest_first = reversed(noise_preds[-len(weights) :])
    return sum(w * noise_pred for w, noise_pred in zip(weights, newest_first, strict=True))

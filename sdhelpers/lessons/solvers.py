"""DDIM, Euler, K-LMS and PNDM by hand: one step of each, then whole runs."""

from collections.abc import Callable, Iterator, Sequence

import torch

PredictNoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (latents, t) -> noise_pred

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


def run_ddim(
    predict_noise: PredictNoise,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    alphas_cumprod: torch.Tensor,
) -> Iterator[torch.Tensor]:
    """Walk a whole plan with `step_ddim`, yielding the latents after each step.

    Args:
        predict_noise: takes latents and t, gives noise_pred.
        latents: (B, 4, h, w), noise of unit variance.
        timesteps: (S,) int64, descending.
        alphas_cumprod: (T,). The last step goes to its first entry, not to 1
            (`set_alpha_to_one=False`).
    """
    levels = _levels(timesteps, alphas_cumprod)
    for t, abar, prev_abar in zip(timesteps, levels[:-1], levels[1:], strict=True):
        latents = step_ddim(latents, predict_noise(latents, t), abar, prev_abar)
        yield latents


def run_pndm(
    predict_noise: PredictNoise,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    alphas_cumprod: torch.Tensor,
) -> Iterator[torch.Tensor]:
    """Walk a whole plan with PNDM: DDIM's step with a mix of the last predictions.

    A start without a past is poor, so the first step is taken twice: once to look at the second
    level, and again from the start with the mean of both predictions. So there is one turn more
    than there are timesteps, as in diffusers with `skip_prk_steps=True`.

    Args:
        predict_noise: takes latents and t, gives noise_pred.
        latents: (B, 4, h, w), noise of unit variance.
        timesteps: (S,) int64, descending, each once.
        alphas_cumprod: (T,). The last step goes to its first entry (`set_alpha_to_one=False`).

    Source: Liu et al. 2022, arXiv 2202.09778; its transfer part is DDIM's step, rearranged.
    """
    levels = _levels(timesteps, alphas_cumprod)
    noise_preds = [predict_noise(latents, timesteps[0])]
    first_try = step_ddim(latents, noise_preds[0], levels[0], levels[1])
    yield first_try
    if len(timesteps) == 1:
        return
    mean = (noise_preds[0] + predict_noise(first_try, timesteps[1])) / 2
    latents = step_ddim(latents, mean, levels[0], levels[1])
    yield latents
    for t, abar, prev_abar in zip(timesteps[1:], levels[1:-1], levels[2:], strict=True):
        noise_preds = [*noise_preds[-3:], predict_noise(latents, t)]
        latents = step_ddim(latents, mix_predictions(noise_preds), abar, prev_abar)
        yield latents


def _levels(timesteps: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Give alphas_cumprod before each step, and after the last: (S + 1,)."""
    return torch.cat([alphas_cumprod[timesteps], alphas_cumprod[:1]])


def run_euler(
    predict_noise: PredictNoise,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    sigmas: torch.Tensor,
) -> Iterator[torch.Tensor]:
    """Walk a whole plan with `step_euler`, yielding the latents after each step.

    Args:
        predict_noise: takes latents *already scaled* to unit variance, and t; gives noise_pred.
        latents: (B, 4, h, w), noise times the first sigma.
        timesteps: (S,) descending.
        sigmas: (S + 1,) of the plan, ending with 0.

    Raises:
        ValueError: if there is not one sigma more than there are timesteps.
    """
    _check_sigmas(timesteps, sigmas)
    for t, sigma, next_sigma in zip(timesteps, sigmas[:-1], sigmas[1:], strict=True):
        noise_pred = predict_noise(latents / (sigma**2 + 1) ** 0.5, t)
        latents = step_euler(latents, noise_pred, sigma, next_sigma)
        yield latents


def run_k_lms(
    predict_noise: PredictNoise,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    sigmas: torch.Tensor,
    order: int = 4,
) -> Iterator[torch.Tensor]:
    """Walk a whole plan with `step_k_lms`, yielding the latents after each step.

    Args and Raises: as for `run_euler`, and
        order: how many predictions to use, 1 to 4.
    """
    _check_sigmas(timesteps, sigmas)
    noise_preds = []
    for index, t in enumerate(timesteps):
        noise_pred = predict_noise(latents / (sigmas[index] ** 2 + 1) ** 0.5, t)
        noise_preds = [*noise_preds[-3:], noise_pred]
        latents = step_k_lms(latents, noise_preds, sigmas, index, order)
        yield latents


def _check_sigmas(timesteps: torch.Tensor, sigmas: torch.Tensor) -> None:
    """Raise a ValueError unless there is one sigma more than there are timesteps."""
    if len(sigmas) != len(timesteps) + 1:
        raise ValueError(
            f"There must be one more sigma than timesteps, the end of the last step; got "
            f"{len(sigmas)} sigmas for {len(timesteps)} timesteps."
        )

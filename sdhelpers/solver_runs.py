"""Whole runs of the solvers, as generators: from noise to clean latents, yielding every latent."""

from collections.abc import Callable, Iterator

import torch

from sdhelpers.solvers import mix_predictions, step_ddim, step_euler, step_k_lms

PredictNoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (latents, t) -> noise_pred


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


def run_euler(
    predict_noise: PredictNoise,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    sigmas: torch.Tensor,
) -> Iterator[torch.Tensor]:
    """Walk a whole plan with `step_euler`, yielding the latents after each step.

    Args and Raises: as for `run_k_lms`.
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

    Args:
        predict_noise: takes latents *already scaled* to unit variance, and t; gives noise_pred.
        latents: (B, 4, h, w), noise times the first sigma.
        timesteps: (S,) descending.
        sigmas: (S + 1,) of the plan, ending with 0.
        order: how many predictions to use, 1 to 4.

    Raises:
        ValueError: if there is not one sigma more than there are timesteps.
    """
    _check_sigmas(timesteps, sigmas)
    noise_preds = []
    for index, t in enumerate(timesteps):
        noise_pred = predict_noise(latents / (sigmas[index] ** 2 + 1) ** 0.5, t)
        noise_preds = [*noise_preds[-3:], noise_pred]
        latents = step_k_lms(latents, noise_preds, sigmas, index, order)
        yield latents


def _levels(timesteps: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Give alphas_cumprod before each step, and after the last: (S + 1,)."""
    return torch.cat([alphas_cumprod[timesteps], alphas_cumprod[:1]])


def _check_sigmas(timesteps: torch.Tensor, sigmas: torch.Tensor) -> None:
    """Raise a ValueError unless there is one sigma more than there are timesteps."""
    if len(sigmas) != len(timesteps) + 1:
        raise ValueError(
            f"There must be one more sigma than timesteps, the end of the last step; got "
            f"{len(sigmas)} sigmas for {len(timesteps)} timesteps."
        )

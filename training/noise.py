"""The loss of a noise prediction; the forward process itself is `sdhelpers.noise_schedule`."""

import torch


def snr_weights(alphas_cumprod_t: torch.Tensor, gamma: float | None) -> torch.Tensor:
    """Return the weight of each row's loss, min(SNR, gamma) / SNR; all 1 where gamma is None.

    Nearly clean latents (high signal-to-noise ratio) give small, easy losses that matter little
    to the picture; this keeps them from taking over.

    Source: Hang et al. 2023, arXiv 2303.09556, for noise prediction.
    """
    if gamma is None:
        return torch.ones_like(alphas_cumprod_t)
    snr = alphas_cumprod_t / (1 - alphas_cumprod_t)
    return snr.clamp(max=gamma) / snr


def noise_prediction_errors(noise_pred: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of each row, (B,)."""
    return (noise_pred - noise).square().mean((1, 2, 3))


def mean_per_bin(
    errors: torch.Tensor, timesteps: torch.Tensor, num_train_timesteps: int, num_bins: int
) -> dict[str, float]:
    """Average errors over bins of the noise level.

    Returns:
        dict "t0" (least noise), "t1", ... -> float; a bin without a row is left out.
    """
    bins = timesteps * num_bins // num_train_timesteps
    return {f"t{index}": errors[bins == index].mean().item() for index in bins.unique().tolist()}

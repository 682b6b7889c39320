"""The forward process: the noise schedule, noisy latents, and the loss of a noise prediction.

alphas_cumprod[t] = abar_t      latents = x_0      noise = eps      noisy_latents = x_t
"""

import torch


def make_alphas_cumprod(
    num_train_timesteps: int, beta_start: float, beta_end: float
) -> torch.Tensor:
    """Return Stable Diffusion's "scaled linear" schedule: the root of beta grows evenly.

    Returns:
        (T,) float32, falling from about 1 to about 0: the share of the picture's variance left.
    """
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps) ** 2
    return (1 - betas).cumprod(0)


def add_noise(
    latents: torch.Tensor, noise: torch.Tensor, alphas_cumprod_t: torch.Tensor
) -> torch.Tensor:
    """Mix latents with noise: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.

    Args:
        latents: (B, 4, h, w), scaled.
        noise: same shape, standard normal.
        alphas_cumprod_t: (B,), abar of each row's timestep.

    Source: Ho et al. 2020, arXiv 2006.11239, equation 4.
    """
    share = alphas_cumprod_t[:, None, None, None]
    return share.sqrt() * latents + (1 - share).sqrt() * noise


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

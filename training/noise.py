"""The loss of a noise prediction; the forward process itself is `sdhelpers.noise_schedule`."""

import torch


def snr_weights(alphas_cumprod: torch.Tensor, exponent: float, floor: float = 0.0) -> torch.Tensor:
    """Return the weight of every timestep, SNR^-exponent, scaled to a mean of 1.

    Nearly clean latents (high signal-to-noise ratio) have by far the largest errors, yet where
    things go and which way they face is decided in noise. An exponent of 0.5 evens this out: in
    our runs each fifth of the timesteps then gives about a fifth of the loss. 0 weighs all alike.

    Source of the aim, not of the formula: Karras et al. 2024, arXiv 2312.02696, which learns the
    weights that make all noise levels count alike.

    Args:
        alphas_cumprod: (T,), of the whole noise schedule.
        exponent: no unit.
        floor: the signal-to-noise ratio below which the weight grows no further, no unit.

    Returns:
        (T,).
    """
    snr = alphas_cumprod / (1 - alphas_cumprod)
    weights = snr.clamp(min=floor) ** -exponent
    return weights / weights.mean()


def draw_timesteps(
    frequencies: torch.Tensor, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Draw timesteps, each as often as its frequency says.

    Args:
        frequencies: (T,), at least 0; their sum may be any number above 0.
        count: how many.
        generator: the source of chance, on the device of the frequencies.

    Returns:
        (count,) int64 in [0, T), on the device of the frequencies.
    """
    return torch.multinomial(frequencies, count, replacement=True, generator=generator)


def noise_prediction_errors(noise_pred: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of each row, (B,)."""
    return (noise_pred - noise).square().mean((1, 2, 3))


def mean_per_bin(
    errors: torch.Tensor, timesteps: torch.Tensor, num_train_timesteps: int, num_bins: int
) -> dict[str, torch.Tensor]:
    """Average errors over bins of the noise level, without a word from the device.

    Returns:
        dict "t0" (least noise), "t1", ... -> scalar; not a number for a bin without a row.
    """
    bins = timesteps * num_bins // num_train_timesteps
    sums = errors.new_zeros(num_bins).index_add_(0, bins, errors)
    counts = errors.new_zeros(num_bins).index_add_(0, bins, torch.ones_like(errors))
    means = sums / counts
    return {f"t{index}": means[index] for index in range(num_bins)}

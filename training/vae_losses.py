"""What the autoencoder is taught by: pixels, edges, the KL term, and a discriminator's verdicts."""

import math

import torch
from torch.nn import functional


def neighbour_differences(pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the differences between pixels and those below and right of them."""
    return (
        pixel_values[..., 1:, :] - pixel_values[..., :-1, :],
        pixel_values[..., 1:] - pixel_values[..., :-1],
    )


def vae_losses(
    reconstruction: torch.Tensor,
    pixel_values: torch.Tensor,
    mean: torch.Tensor,
    logvar: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """Return the parts of the VAE's loss.

    Returns:
        "l1" and "squared": mean absolute and mean squared error of the pixels. "gradient": mean
        absolute error of the differences between neighbours, both directions added. "kl": mean KL
        divergence of one latent from a standard normal, 0.5 * (mean^2 + variance - 1 - log
        variance), in nats.
    """
    l1 = functional.l1_loss(reconstruction, pixel_values)
    pairs = zip(
        neighbour_differences(reconstruction), neighbour_differences(pixel_values), strict=True
    )
    gradient = sum(functional.l1_loss(ours, true) for ours, true in pairs)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    squared = functional.mse_loss(reconstruction, pixel_values)
    return {"l1": l1, "squared": squared, "gradient": gradient, "kl": kl}


def adversarial_losses(
    on_true: torch.Tensor, on_decoded: torch.Tensor, on_decoded_frozen: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return the two sides of the contest between discriminator and autoencoder.

    Args:
        on_true: verdicts on patches of true pictures, any shape.
        on_decoded: on decoded ones, with a gradient to the discriminator.
        on_decoded_frozen: the same values, with a gradient to the autoencoder.

    Returns:
        "discriminator": hinge loss, 0 where every verdict is right by a margin of 1, and 1 where
        all are 0. "adversarial": minus the mean verdict on decoded patches.
        Source: Lim and Ye 2017, Geometric GAN, arXiv 1705.02894.
    """
    hinges = functional.relu(1 - on_true).mean() + functional.relu(1 + on_decoded).mean()
    return {"discriminator": 0.5 * hinges, "adversarial": -on_decoded_frozen.mean()}


def peak_signal_to_noise(reconstructions: torch.Tensor, pixel_values: torch.Tensor) -> float:
    """Return the PSNR in dB of values in [-1, 1], from the mean squared error over all."""
    error = ((reconstructions - pixel_values) / 2).square().mean().item()
    return -10 * math.log10(error)

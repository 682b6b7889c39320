"""The exercises of notebook 01, the VAE.

Notation: s scaling_factor, m shift_factor, v log variance, w weight, b bias.
"""

import torch

from sdhelpers.check import Function, Mistake, judge
from sdhelpers.latents import make_generator


def check_unscale(attempt: Function) -> None:
    """Judge `attempt(latents, scaling_factor, shift_factor)`, the inverse of (unscaled - m) * s.

    Args:
        attempt: takes scaled latents (B, 4, h, w) and two floats, returns unscaled latents of the
            same shape.
    """
    generator = make_generator(1)
    judge(
        attempt,
        _unscale_latents,
        [
            (torch.tensor([[[[0.0, 1.0, 2.0]]]]), 2.0, 0.5),
            (torch.randn((2, 4, 3, 5), generator=generator), 1.5305, 0.0609),
            (torch.randn((1, 4, 2, 2), generator=generator), 0.25, 0.0),
        ],
        praise="the division comes first, because scaling multiplied last: an inverse undoes "
        "the steps from the last to the first. With a shift of 0 it is the division that you know.",
        mistakes=[
            Mistake(lambda latents, s, m: (latents + m) / s, "Undo the last step first."),
            Mistake(
                lambda latents, s, m: latents / s,
                "The shift is missing: latents of 0 become the mean, and not 0.",
            ),
            Mistake(
                lambda latents, s, m: latents / s - m,
                "The mean was subtracted on the way in: on the way out it is added.",
            ),
            Mistake(
                lambda latents, s, m: latents * s + m,
                "Scaling multiplied by the factor: divide by it now.",
            ),
            Mistake(
                lambda latents, s, m: (latents - m) * s,
                "That is scaling once more. Go the other way.",
            ),
        ],
    )


def check_sample(attempt: Function) -> None:
    """Judge `attempt(mean, log_variance, noise)`: a sample of the latent distribution.

    Args:
        attempt: takes three tensors (B, 4, h, w), returns one; noise is standard normal.

    Source: Kingma and Welling 2013, Auto-Encoding Variational Bayes, arXiv 1312.6114.
    """
    generator = make_generator(2)
    mean, log_variance, noise = (torch.randn((2, 4, 3, 5), generator=generator) for _ in range(3))
    judge(
        attempt,
        _sample_latents,
        [
            (torch.zeros(4), torch.tensor([0.0, 1.0, 2.0, 4.0]), torch.ones(4)),
            (mean, log_variance - 2, noise),
        ],
        praise="half of the logarithm is the logarithm of the square root, so "
        "exp(log_variance / 2) is the standard deviation. The network may output any number, "
        "and this is positive all the same.",
        mistakes=[
            Mistake(
                lambda mean, v, noise: mean + v.exp() * noise,
                "exp(log_variance) is the variance. The standard deviation is its square root.",
            ),
            Mistake(
                lambda mean, v, noise: mean + v * noise,
                "That takes the logarithm of the variance for the standard deviation.",
            ),
            Mistake(
                lambda mean, v, noise: mean + v.exp() ** 2 * noise,
                "The standard deviation is the square root of the variance, not its square.",
            ),
            Mistake(
                lambda mean, v, noise: mean + v / 2 * noise,
                "Half of the logarithm is still a logarithm: undo it with exp.",
            ),
            Mistake(
                lambda mean, v, noise: mean + noise,
                "This noise has the same strength everywhere, whatever the encoder says.",
            ),
        ],
    )


def check_preview(attempt: Function) -> None:
    """Judge `attempt(latents, weight, bias)`: one colour for each latent cell.

    Args:
        attempt: takes latents (B, 4, h, w), weight (4, 3), bias (3,), returns (B, 3, h, w).
    """
    generator = make_generator(3)
    latents = torch.randn((2, 4, 3, 5), generator=generator)
    weight, bias = torch.randn((4, 3), generator=generator), torch.tensor([0.5, 0.0, -0.5])
    judge(
        attempt,
        _preview,
        [(latents[:1], weight, torch.zeros(3)), (latents, weight, bias)],
        praise="four numbers go in at each place and three come out, by the same 12 weights and 3 "
        "offsets everywhere. That is a convolution with a kernel of 1 x 1, and it costs next to "
        "nothing.",
        mistakes=[
            Mistake(
                lambda latents, w, b: latents.permute(0, 2, 3, 1) @ w + b,
                "The colours are right, and in the last place: bring them back to the second "
                "with permute(0, 3, 1, 2).",
            ),
            Mistake(lambda latents, w, b: _preview(latents, w, 0 * b), "The bias is missing."),
            Mistake(
                _preview_reshaped,
                "reshape keeps the order of the numbers in memory and so "
                "mixes places with channels. permute moves axes.",
            ),
        ],
        tolerance=1e-4,
    )


def check_paste(attempt: Function) -> None:
    """Judge `attempt(latents, other, box, factor)`: a rectangle of one picture in another.

    Args:
        attempt: takes two tensors (B, 4, h, w), a box (left, top, right, bottom) in pixels and
            the pixels along one side of a latent cell; returns a new tensor (B, 4, h, w).
    """
    generator = make_generator(4)
    latents, other = (torch.randn((1, 4, 6, 8), generator=generator) for _ in range(2))
    judge(
        attempt,
        _paste,
        [(latents, other, (16, 8, 40, 24), 8), (other, latents, (0, 4, 12, 16), 4)],
        praise="a box of pixels is a box of cells, divided by the factor. The seam is left to the "
        "decoder, which looks at neighbouring cells and smooths it a little. Inpainting does this "
        "at every step of the loop.",
        mistakes=[
            Mistake(
                _paste_uncounted,
                "The box is in pixels, and latents are counted in cells: divide by factor.",
            ),
            Mistake(
                _paste_swapped,
                "Rows and columns are swapped: the box begins with left, a column, and a tensor "
                "is indexed [..., row, column].",
            ),
            Mistake(
                lambda latents, other, box, factor: _paste(other, latents, box, factor),
                "Inside is outside: `other` belongs into the box, `latents` around it.",
            ),
        ],
    )


def _unscale_latents(
    latents: torch.Tensor, scaling_factor: float, shift_factor: float
) -> torch.Tensor:
    """Undo (z - shift_factor) * scaling_factor."""
    return latents / scaling_factor + shift_factor


def _sample_latents(
    mean: torch.Tensor, log_variance: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Give mean + standard deviation * noise."""
    return mean + torch.exp(log_variance / 2) * noise


def _preview(latents: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Mix the channels of each cell into a colour."""
    return (latents.permute(0, 2, 3, 1) @ weight + bias).permute(0, 3, 1, 2)


def _preview_reshaped(
    latents: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Make the mistake of reshaping where axes must be moved."""
    batch, channels, height, width = latents.shape
    colours = latents.reshape(batch, -1, channels) @ weight + bias
    return colours.reshape(batch, 3, height, width)


def _paste(
    latents: torch.Tensor, other: torch.Tensor, box: tuple[int, int, int, int], factor: int
) -> torch.Tensor:
    """Put the part of `other` inside the box into a copy of `latents`."""
    left, top, right, bottom = (side // factor for side in box)
    pasted = latents.clone()
    pasted[..., top:bottom, left:right] = other[..., top:bottom, left:right]
    return pasted


def _paste_uncounted(
    latents: torch.Tensor, other: torch.Tensor, box: tuple[int, int, int, int], factor: int
) -> torch.Tensor:
    """Make the mistake of taking pixels for cells."""
    return _paste(latents, other, box, 1)


def _paste_swapped(
    latents: torch.Tensor, other: torch.Tensor, box: tuple[int, int, int, int], factor: int
) -> torch.Tensor:
    """Make the mistake of taking columns for rows."""
    left, top, right, bottom = box
    return _paste(latents, other, (top, left, bottom, right), factor)

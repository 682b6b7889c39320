"""Answers to the exercises of notebook 01; and ours are those of the library and the helpers."""

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from sdhelpers.exercises import vae as exercises
from sdhelpers.exercises.vae import check_paste, check_preview, check_sample, check_unscale
from sdhelpers.latents import LinearPreview, latents_to_rgb, make_generator


def paste_in_place(latents, other, box, factor):
    left, top, right, bottom = (side // factor for side in box)
    latents[..., top:bottom, left:right] = other[..., top:bottom, left:right]
    return latents


def paste(latents, other, box, factor):
    return paste_in_place(latents.clone(), other, box, factor)


RIGHT = [
    (check_unscale, lambda latents, s, m: latents / s + m),
    (check_sample, lambda mean, v, noise: mean + noise * v.exp().sqrt()),
    (check_preview, lambda z, w, b: torch.einsum("bchw,cd->bdhw", z, w) + b.view(1, 3, 1, 1)),
    (check_paste, paste),
]
WRONG = [
    (check_unscale, lambda latents, s, m: (latents + m) / s, "Undo the last step first"),
    (check_unscale, lambda latents, s, m: latents / s, "shift is missing"),
    (check_unscale, lambda latents, s, m: latents / s - m, "on the way out it is added"),
    (check_unscale, lambda latents, s, m: latents * s + m, "divide by it now"),
    (check_unscale, lambda latents, s, m: (latents - m) * s, "scaling once more"),
    (check_sample, lambda mean, v, noise: mean + v.exp() * noise, "exp(log_variance) is"),
    (check_sample, lambda mean, v, noise: mean + v * noise, "takes the logarithm"),
    (check_sample, lambda mean, v, noise: mean + v.exp() ** 2 * noise, "not its square"),
    (check_sample, lambda mean, v, noise: mean + v / 2 * noise, "undo it with exp"),
    (check_sample, lambda mean, v, noise: mean + noise, "same strength"),
    (check_preview, lambda z, w, b: z.permute(0, 2, 3, 1) @ w + b, "in the last place"),
    (check_preview, lambda z, w, b: (z.permute(0, 2, 3, 1) @ w).permute(0, 3, 1, 2), "bias is"),
    (
        check_preview,
        lambda z, w, b: (z.reshape(len(z), -1, 4) @ w + b).reshape(len(z), 3, *z.shape[2:]),
        "permute moves axes",
    ),
    (check_paste, lambda z, other, box, factor: paste(z, other, box, 1), "divide by factor"),
    (
        check_paste,
        lambda z, other, box, factor: paste(z, other, (box[1], box[0], box[3], box[2]), factor),
        "Rows and columns are swapped",
    ),
    (check_paste, lambda z, other, box, factor: paste(other, z, box, factor), "Inside is outside"),
]


def test_the_right_sample_is_the_library_s() -> None:
    parameters = torch.randn((2, 8, 3, 5), generator=make_generator(0))
    distribution = DiagonalGaussianDistribution(parameters)
    noise = torch.randn((2, 4, 3, 5), generator=make_generator(1))
    ours = exercises._sample_latents(distribution.mean, distribution.logvar, noise)
    torch.testing.assert_close(ours, distribution.sample(make_generator(1)))


def test_the_right_preview_is_the_helper_s() -> None:
    generator = make_generator(2)
    latents = torch.randn((2, 4, 3, 5), generator=generator) / 9
    weight = torch.randn((4, 3), generator=generator) / 9
    bias = torch.tensor([0.1, 0.0, -0.1])
    expected = latents_to_rgb(latents, LinearPreview(weight, bias))
    torch.testing.assert_close(exercises._preview(latents, weight, bias), expected)

"""The exercises of notebook 04: what the UNet predicts, and how it is built."""

from functools import partial
from types import SimpleNamespace

import torch

from sdhelpers.check import Function, Mistake, judge
from sdhelpers.latents import make_generator

# (levels, ResNet blocks per level on the way down): this course's model, v1-4, and a larger one.
_UNETS = [(3, 1), (4, 2), (5, 3)]
# (channels, length of a text embedding): finest levels of this course's model and of v1-4, others.
_WIDTHS = [(64, 256), (320, 768), (1280, 768), (8, 3)]


def check_implied_noise(attempt: Function) -> None:
    """Judge `implied_noise(noisy_latents, clean_guess, abar)`, which gives the noise in between."""
    cases = [
        (_draw((1, 4, 2, 2), seed), _draw((1, 4, 2, 2), seed + 1), torch.tensor(abar))
        for seed, abar in ((0, 0.64), (2, 0.05), (4, 0.99))
    ]
    judge(
        attempt,
        _implied_noise,
        cases,
        praise="one equation, three quantities. Who knows the noisy latents and the noise knows "
        "the picture; who knows the noisy latents and the picture knows the noise. A network "
        "that predicts the one predicts the other.",
        mistakes=[
            Mistake(
                lambda noisy, guess, abar: noisy - guess,
                "Inside the noisy latents both the picture and the noise are shrunk: each has a "
                "square root as its factor.",
            ),
            Mistake(
                lambda noisy, guess, abar: noisy - abar.sqrt() * guess,
                "This is the noise as it lies in the noisy latents, still shrunk. Divide by its "
                "factor.",
            ),
            Mistake(
                lambda noisy, guess, abar: (noisy - abar * guess) / (1 - abar),
                "The factors are the square roots of abar and of 1 - abar.",
            ),
            Mistake(
                lambda noisy, guess, abar: (noisy - (1 - abar).sqrt() * guess) / abar.sqrt(),
                "You solved for the picture. Here the picture is given, and the noise is asked.",
            ),
        ],
    )


def check_count_skips(attempt: Function) -> None:
    """Judge `count_skips(num_levels, layers_per_block)`, the number of skip connections."""
    judge(
        attempt,
        lambda levels, layers: 1 + levels * layers + (levels - 1),
        list(_UNETS),
        praise="the first convolution, every ResNet block on the way down and every shrinking "
        "each keep a copy. With 4 levels of 2 that makes the 12 of Stable Diffusion v1-4.",
        mistakes=[
            Mistake(
                lambda levels, layers: levels * layers,
                "These are the ResNet blocks. Something before the first block keeps a copy, too, "
                "and so does each shrinking.",
            ),
            Mistake(
                lambda levels, layers: levels * layers + levels - 1,
                "One is missing: the very first convolution keeps a copy as well.",
            ),
            Mistake(
                lambda levels, layers: 1 + levels * layers,
                "The shrinking between two levels keeps a copy as well.",
            ),
            Mistake(
                lambda levels, layers: 1 + levels * layers + levels,
                "The last level on the way down does not shrink: look at the table of shapes.",
            ),
        ],
    )


def check_cross_attention_parameters(attempt: Function) -> None:
    """Judge `cross_attention_parameters(channels, text_width)`, a count of numbers."""
    judge(
        attempt,
        lambda channels, width: 2 * channels**2 + 2 * width * channels + channels,
        list(_WIDTHS),
        praise="queries come from the picture, keys and values from the words, and only the last "
        "layer has a bias. The words' length D enters here and nowhere else in the UNet: a model "
        "for longer embeddings differs in these matrices only.",
        mistakes=[
            Mistake(
                lambda channels, width: 2 * channels**2 + 2 * width * channels,
                "Nearly: the output layer also has a bias, one number for each channel.",
            ),
            Mistake(
                lambda channels, width: 2 * channels**2 + 2 * width * channels + 4 * channels,
                "Nearly: only the output layer has a bias.",
            ),
            Mistake(
                lambda channels, width: 4 * channels**2 + channels,
                "This is a self-attention, where everything comes from the picture. Here keys and "
                "values are made of words, which have text_width numbers each.",
            ),
            Mistake(
                lambda channels, width: channels**2 + width * channels + channels,
                "There are four matrices: queries and output, keys and values.",
            ),
        ],
    )


def check_training_loss(attempt: Function) -> None:
    """Judge `training_loss(unet, alphas_cumprod, clean_latents, noise, timesteps, embeddings)`."""
    unet = StandInUNet()
    alphas_cumprod = torch.linspace(0.99, 0.01, 10)
    cases = [
        (
            unet,
            alphas_cumprod,
            _draw((len(timesteps), 4, 3, 3), seed),
            _draw((len(timesteps), 4, 3, 3), seed + 1),
            torch.tensor(timesteps),
            _draw((len(timesteps), 5, 6), seed + 2),
        )
        for seed, timesteps in ((0, [4]), (3, [9, 0]))
    ]
    judge(
        attempt,
        training_loss,
        cases,
        praise="this is the whole objective of Stable Diffusion. Repeat it with pictures, random "
        "timesteps and fresh noise, and each time turn the weights a little so that it falls.",
        mistakes=[
            Mistake(
                partial(_loss, mix=lambda clean, noise, abar: abar * clean + (1 - abar) * noise),
                "The factors of picture and noise are the square roots of abar and of 1 - abar.",
            ),
            Mistake(
                partial(_loss, target=lambda clean, noise: clean),
                "The answer is compared with the noise, not with the picture.",
            ),
            Mistake(
                partial(_loss, mix=lambda clean, noise, abar: clean + noise),
                "Picture and noise each have a factor that depends on the timestep.",
            ),
            Mistake(
                partial(_loss, reduce=lambda difference: difference.abs().mean()),
                "Square the differences before taking their mean.",
            ),
            Mistake(
                partial(_loss, reduce=lambda difference: difference.square().sum()),
                "The mean of the squares, not their sum: a large picture shall not weigh more.",
            ),
        ],
    )


class StandInUNet(torch.nn.Module):
    """A UNet's call without a UNet: an answer that depends on all three inputs."""

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
    ) -> SimpleNamespace:
        """Mix the inputs into something of the shape of `sample`, in the attribute `sample`."""
        told = torch.as_tensor(timestep).reshape(-1, 1, 1, 1) / 10
        heard = encoder_hidden_states.mean(dim=(1, 2)).reshape(-1, 1, 1, 1)
        return SimpleNamespace(sample=0.5 * sample + told + heard)


def training_loss(
    unet: torch.nn.Module,
    alphas_cumprod: torch.Tensor,
    clean_latents: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    text_embeddings: torch.Tensor,
) -> torch.Tensor:
    """Compute what training makes small: the mean squared error of the predicted noise.

    Args:
        unet: called as `unet(noisy, timesteps, encoder_hidden_states=...)`; its answer has
            `.sample`.
        alphas_cumprod: (T,), the share of the picture's variance that is left at each timestep.
        clean_latents: (B, 4, h, w), scaled.
        noise: (B, 4, h, w), unit variance.
        timesteps: (B,) int64, one for each picture, [0, T).
        text_embeddings: (B, L, D).

    Returns:
        A scalar.

    Source: Ho, Jain and Abbeel 2020, arXiv 2006.11239, equation 14.
    """
    return _loss(unet, alphas_cumprod, clean_latents, noise, timesteps, text_embeddings)


def _mean_square(difference: torch.Tensor) -> torch.Tensor:
    return difference.square().mean()


def _mix(clean: torch.Tensor, noise: torch.Tensor, abar: torch.Tensor) -> torch.Tensor:
    return abar.sqrt() * clean + (1 - abar).sqrt() * noise


def _loss(
    unet: torch.nn.Module,
    alphas_cumprod: torch.Tensor,
    clean: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    text_embeddings: torch.Tensor,
    *,
    mix: Function = _mix,
    target: Function = lambda clean, noise: noise,
    reduce: Function = _mean_square,
) -> torch.Tensor:
    """Compute `training_loss`, or a mistake if one of its three parts is replaced."""
    abar = alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
    noisy = mix(clean, noise, abar)
    noise_pred = unet(noisy, timesteps, encoder_hidden_states=text_embeddings).sample
    return reduce(noise_pred - target(clean, noise))


def _implied_noise(
    noisy_latents: torch.Tensor, clean_guess: torch.Tensor, abar: torch.Tensor
) -> torch.Tensor:
    """Solve noisy = sqrt(abar) * clean + sqrt(1 - abar) * noise for the noise."""
    return (noisy_latents - abar.sqrt() * clean_guess) / (1 - abar).sqrt()


def _draw(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Draw unit-variance numbers, the same each time."""
    return torch.randn(shape, generator=make_generator(seed))

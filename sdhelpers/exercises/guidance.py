"""The exercises of notebook 06, guidance.

Notation: u noise_pred_uncond, t noise_pred_text, n noise_pred_negative, s guidance_scale.
"""

import torch

from sdhelpers.check import Function, Mistake, judge
from sdhelpers.guidance import apply_guidance
from sdhelpers.latents import make_generator

LOW_SCALE, HIGH_SCALE = 2, 10  # the two known points of `check_remix`


def check_mix(attempt: Function) -> None:
    """Judge `attempt(noise_pred_uncond, noise_pred_text, w)`, guidance counted from 0.

    Args:
        attempt: takes two predictions (B, 4, h, w) and a float w, where 0 is the plain prediction
            with the prompt; returns the mix, of the same shape.

    Source: Ho and Salimans 2022, Classifier-Free Diffusion Guidance, arXiv 2207.12598, eq. 6.
    """
    uncond, text, _ = _predictions(1)
    judge(
        attempt,
        _mix_like_the_paper,
        [(torch.tensor([2.0]), torch.tensor([3.0]), 6.5), (uncond, text, 0.0), (uncond, text, 3.0)],
        praise="their w counts the steps beyond the prompt, ours those from no prompt at all, so "
        "theirs is one smaller. Write down which one you use.",
        mistakes=[
            Mistake(
                apply_guidance,
                "That is our way of counting, where 1 is the plain prediction with the prompt. "
                "In the paper 0 is.",
            ),
            Mistake(
                lambda u, t, w: (1 + w) * u - w * t,
                "The two are swapped: this runs away from the prompt.",
            ),
            Mistake(
                lambda u, t, w: (1 + w) * t + w * u,
                "The two weights must add up to 1, or the noise grows: one of them is negative.",
            ),
            Mistake(
                lambda u, t, w: u + (w - 1) * (t - u),
                "Theirs is smaller than ours by 1, so to get ours you add.",
            ),
        ],
        tolerance=1e-4,
    )


def check_remix(attempt: Function) -> None:
    """Judge `attempt(mix_at_2, mix_at_10, guidance_scale)`: a line through two other points.

    Args:
        attempt: takes the predictions (B, 4, h, w) mixed at the scales 2 and 10, and the scale
            that is wanted; returns the prediction mixed at that scale.
    """
    uncond, text, _ = _predictions(2)
    ends = [apply_guidance(uncond, text, scale) for scale in (LOW_SCALE, HIGH_SCALE)]
    judge(
        attempt,
        _mix_again,
        [
            (torch.tensor([4.0]), torch.tensor([12.0]), 3.0),
            (*ends, 1.0),
            (*ends, 0.0),
            (*ends, 7.5),
        ],
        praise="any two points give the whole line, so even the plain predictions at 0 and 1 can "
        "be had back from two mixed ones.",
        mistakes=[
            Mistake(
                apply_guidance,
                "That takes the first for the point at 0 and the second for the point at 1. They "
                "are at 2 and at 10.",
            ),
            Mistake(
                lambda low, high, s: low + (s - 2) * (high - low),
                "From 2 to 10 the scale takes 8 steps: one step is an eighth of the difference.",
            ),
            Mistake(
                lambda low, high, s: low + s / 8 * (high - low),
                "The line starts at scale 2 here: count the steps from there.",
            ),
            Mistake(
                lambda low, high, s: low + s / 10 * (high - low),
                "The line starts at scale 2 here, and it is 8 long.",
            ),
        ],
        tolerance=1e-4,
    )


def check_guide_twice(attempt: Function) -> None:
    """Judge `attempt(uncond, text, negative, guidance_scale, negative_scale)`: three predictions.

    Args:
        attempt: takes three predictions (B, 4, h, w) and two floats; returns the empty prompt's
            prediction, pushed towards the prompt and away from the negative prompt.

    Source: Liu et al. 2022, Compositional Visual Generation with Composable Diffusion Models,
        arXiv 2206.01714 (both conditions measured from the unconditional prediction).
    """
    uncond, text, negative = _predictions(3)
    judge(
        attempt,
        _guide_twice,
        [
            (torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([6.0]), 4.0, 2.0),
            (uncond, text, negative, 7.5, 3.0),
            (uncond, text, negative, 4.0, 0.0),
        ],
        praise="each difference is a direction of its own, measured from the empty prompt, so the "
        "two strengths can be set apart. It costs a third UNet answer in every step.",
        mistakes=[
            Mistake(
                lambda u, t, n, s, m: u + s * (t - u) + m * (n - u),
                "This is pushed *towards* the negative prompt.",
            ),
            Mistake(
                lambda u, t, n, s, m: n + s * (t - n),
                "That is the usual negative prompt, in the place of the empty one. Here both "
                "directions start from the empty prompt, each with its own strength.",
            ),
            Mistake(
                lambda u, t, n, s, m: u + s * (t - u) - m * n,
                "The second direction, too, is a difference: subtract the empty prompt's "
                "prediction from the negative one's.",
            ),
            Mistake(
                lambda u, t, n, s, m: u + s * (t - u) - m * (n - t),
                "Both directions start from the empty prompt's prediction, not from the prompt's.",
            ),
            Mistake(
                lambda u, t, n, s, m: u + s * (t - u) + u - m * (n - u),
                "The starting point is counted twice.",
            ),
        ],
        tolerance=1e-4,
    )


def check_calm_down(attempt: Function) -> None:
    """Judge `attempt(noise_pred, noise_pred_text, share)`: rescaled guidance.

    Args:
        attempt: takes the mixed prediction and the one for the prompt, (B, 4, h, w) each, and the
            share of the rescaled prediction in the result, 0 to 1; returns (B, 4, h, w).

    Source: Lin et al. 2023, Common Diffusion Noise Schedules and Sample Steps are Flawed,
        arXiv 2305.08891, eq. 14 to 16; `rescale_noise_cfg` in diffusers.
    """
    uncond, text, _ = _predictions(4)
    text = text * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)  # two pictures of different strength
    mixed = apply_guidance(uncond, text, 7.5)
    judge(
        attempt,
        _calm_down,
        [(mixed[:1], text[:1], 1.0), (mixed[:1], text[:1], 0.7), (mixed, text, 0.7)],
        praise="the direction stays, the strength becomes that of a plain prediction. Lin and "
        "others 2023 found a share of 0.7 good; the library calls it guidance_rescale.",
        mistakes=[
            Mistake(
                lambda mixed, text, share: _calm_down(mixed, text, 1.0),
                "The share is not used: it says how much of the rescaled prediction goes in.",
            ),
            Mistake(
                lambda mixed, text, share: _calm_down(mixed, text, 1 - share),
                "The share belongs to the rescaled prediction, the rest to the other one.",
            ),
            Mistake(
                lambda mixed, text, share: mixed * (share * text.std() / mixed.std() + 1 - share),
                "Right for one picture. In a batch each picture has its own standard deviation: "
                "std(dim=(1, 2, 3), keepdim=True).",
            ),
            Mistake(
                lambda mixed, text, share: (
                    mixed * (share * _std_of_each(mixed) / _std_of_each(text) + 1 - share)
                ),
                "The quotient is upside down: this makes a strong prediction stronger.",
            ),
            Mistake(
                lambda mixed, text, share: (
                    share * text * (_std_of_each(mixed) / _std_of_each(text)) + (1 - share) * mixed
                ),
                "Rescale the mixed prediction, not the one for the prompt: its direction is what "
                "guidance is about.",
            ),
        ],
        tolerance=1e-4,
    )


def _predictions(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give three noises that might be predictions: without, with and with a negative prompt."""
    generator = make_generator(seed)
    uncond, text, negative = torch.randn((3, 2, 4, 3, 5), generator=generator)
    return uncond, text, negative


def _mix_like_the_paper(u: torch.Tensor, t: torch.Tensor, w: float) -> torch.Tensor:
    """Mix as in equation 6 of Ho and Salimans."""
    return (1 + w) * t - w * u


def _mix_again(low: torch.Tensor, high: torch.Tensor, s: float) -> torch.Tensor:
    """Walk along the line from the point at 2, in steps of an eighth of the way to 10."""
    return low + (s - LOW_SCALE) / (HIGH_SCALE - LOW_SCALE) * (high - low)


def _guide_twice(
    u: torch.Tensor, t: torch.Tensor, n: torch.Tensor, s: float, negative_scale: float
) -> torch.Tensor:
    """Add both directions, the second one backwards."""
    return u + s * (t - u) - negative_scale * (n - u)


def _calm_down(mixed: torch.Tensor, text: torch.Tensor, share: float) -> torch.Tensor:
    """Give each picture's prediction the strength of its plain one, in part."""
    rescaled = mixed * (_std_of_each(text) / _std_of_each(mixed))
    return share * rescaled + (1 - share) * mixed


def _std_of_each(predictions: torch.Tensor) -> torch.Tensor:
    """Give the standard deviation of each picture's prediction, (B, 1, 1, 1)."""
    return predictions.std(dim=(1, 2, 3), keepdim=True)

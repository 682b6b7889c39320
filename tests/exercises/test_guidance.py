"""Answers to the exercises of notebook 06, some of them the library's; and the paper's formula."""

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from sdhelpers.exercises.guidance import check_calm_down, check_guide_twice, check_mix, check_remix
from sdhelpers.guidance import apply_guidance


def std(predictions: torch.Tensor) -> torch.Tensor:
    return predictions.std(dim=(1, 2, 3), keepdim=True)


def guide_in_place(u, t, n, s, m):
    return u.add_(s * (t - u) - m * (n - u))


RIGHT = [
    (check_mix, lambda u, t, w: t + w * (t - u)),
    (check_mix, lambda u, t, w: apply_guidance(u, t, w + 1)),
    (check_remix, lambda low, high, s: low * (10 - s) / 8 + high * (s - 2) / 8),
    (check_guide_twice, lambda u, t, n, s, m: (1 - s + m) * u + s * t - m * n),
    (check_calm_down, rescale_noise_cfg),
    (check_calm_down, lambda mixed, text, share: mixed.lerp(mixed * std(text) / std(mixed), share)),
]
WRONG = [
    (check_mix, apply_guidance, "our way of counting"),
    (check_mix, lambda u, t, w: u + w * (u - t), "runs away from the prompt"),
    (check_mix, lambda u, t, w: t + w * (t + u), "add up to 1"),
    (check_mix, lambda u, t, w: apply_guidance(u, t, w - 1), "you add"),
    (check_remix, apply_guidance, "They are at 2 and at 10"),
    (check_remix, lambda low, high, s: low + (s - 2) * (high - low), "an eighth"),
    (check_remix, lambda low, high, s: low.lerp(high, s / 8), "count the steps from there"),
    (check_remix, lambda low, high, s: low.lerp(high, s / 10), "it is 8 long"),
    (check_guide_twice, lambda u, t, n, s, m: u + s * (t - u) + m * (n - u), "*towards*"),
    (check_guide_twice, lambda u, t, n, s, m: apply_guidance(n, t, s), "usual negative prompt"),
    (check_guide_twice, lambda u, t, n, s, m: u + s * (t - u) - m * n, "too, is a difference"),
    (check_guide_twice, lambda u, t, n, s, m: u + s * (t - u) - m * (n - t), "not from the prompt"),
    (
        check_guide_twice,
        lambda u, t, n, s, m: apply_guidance(u, t, s) + apply_guidance(u, n, -m),
        "counted twice",
    ),
    (check_calm_down, lambda mixed, text, share: mixed * std(text) / std(mixed), "share is not"),
    (check_calm_down, lambda m, t, share: rescale_noise_cfg(m, t, 1 - share), "share belongs to"),
    (
        check_calm_down,
        lambda mixed, text, share: mixed.lerp(mixed * text.std() / mixed.std(), share),
        "In a batch each picture",
    ),
    (
        check_calm_down,
        lambda mixed, text, share: mixed.lerp(mixed * std(mixed) / std(text), share),
        "upside down",
    ),
    (
        check_calm_down,
        lambda mixed, text, share: mixed.lerp(text * std(mixed) / std(text), share),
        "not the one for the prompt",
    ),
]


def test_a_mistake_without_a_hint_shows_the_first_difference(verdict) -> None:
    said = verdict(check_remix, lambda low, high, s: low)
    assert said.startswith("not yet: in case 1 of 4, the value at [0] is 4, expected 5")
    assert "hint:" not in said


def test_the_paper_counts_from_zero() -> None:
    """Ho and Salimans' 6.5 is our 7.5, and Imagen's formula is ours (arXiv 2205.11487, eq. 2)."""
    u, t = torch.randn((2, 1, 4, 8, 8), generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close((1 + 6.5) * t - 6.5 * u, apply_guidance(u, t, 7.5))
    torch.testing.assert_close(7.5 * t + (1 - 7.5) * u, apply_guidance(u, t, 7.5))

"""Guidance is a straight line through two predictions."""

import pytest
import torch

from sdhelpers.guidance import apply_guidance, join_embeddings, split_prediction

SHAPE = (2, 4, 8, 8)


@pytest.fixture
def uncond() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def text() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_ends_of_the_line(uncond: torch.Tensor, text: torch.Tensor) -> None:
    torch.testing.assert_close(apply_guidance(uncond, text, 0), uncond)
    torch.testing.assert_close(apply_guidance(uncond, text, 1), text)


@pytest.mark.parametrize("scale", [-1.0, 0.3, 1.5, 7.5, 20.0])
def test_linear_in_the_scale(uncond: torch.Tensor, text: torch.Tensor, scale: float) -> None:
    """The mix at any scale is the blend of the mixes at 0 and 1, and of those at 2 and 10."""
    mixed = apply_guidance(uncond, text, scale)
    torch.testing.assert_close(mixed, (1 - scale) * uncond + scale * text)
    low, high = apply_guidance(uncond, text, 2), apply_guidance(uncond, text, 10)
    share = (scale - 2) / 8
    torch.testing.assert_close(mixed, (1 - share) * low + share * high)


def test_swapped_order_differs(uncond: torch.Tensor, text: torch.Tensor) -> None:
    right, swapped = apply_guidance(uncond, text, 7.5), apply_guidance(text, uncond, 7.5)
    assert (right - swapped).abs().max() > 1


def test_inputs_are_unchanged(uncond: torch.Tensor, text: torch.Tensor) -> None:
    kept = uncond.clone(), text.clone()
    apply_guidance(uncond, text, 7.5)
    torch.testing.assert_close((uncond, text), kept, atol=0, rtol=0)


def test_join_and_split_agree_on_the_order(uncond: torch.Tensor, text: torch.Tensor) -> None:
    joined = join_embeddings(uncond[:, 0], text[:, 0])
    assert joined.shape == (4, 8, 8)
    first, second = split_prediction(joined)
    torch.testing.assert_close(first, uncond[:, 0], atol=0, rtol=0)
    torch.testing.assert_close(second, text[:, 0], atol=0, rtol=0)


def test_shapes_must_agree(uncond: torch.Tensor, text: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"noise_pred_uncond \(2, 4, 8, 8\).*\(1, 4, 8, 8\)"):
        apply_guidance(uncond, text[:1], 7.5)
    with pytest.raises(ValueError, match="uncond_embeddings"):
        join_embeddings(uncond, text[:, :, :4])


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_batch_that_cannot_be_halved(rows: int) -> None:
    with pytest.raises(ValueError, match="an even number"):
        split_prediction(torch.zeros(rows, 4, 8, 8))

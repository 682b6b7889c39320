"""Right answers to the exercises of notebook 03: what can be said of ids, masks and vectors."""

import torch

_NEARLY_SAME = 1e-3  # sine of the angle between two directions


def count_common_start(first_ids: torch.Tensor, second_ids: torch.Tensor) -> int:
    """Count the places before the first one where two rows of ids differ.

    Args:
        first_ids: (L,) int64.
        second_ids: (L,) int64.

    Returns:
        0 to L.
    """
    return int((first_ids == second_ids).long().cumprod(dim=0).sum())


def pool_at_end(
    text_embeddings: torch.Tensor, input_ids: torch.Tensor, end_id: int
) -> torch.Tensor:
    """Give the vector at each prompt's first end token.

    Args:
        text_embeddings: (B, L, D).
        input_ids: (B, L) int64, with at least one end token in each row.
        end_id: of the end token.

    Returns:
        (B, D).

    Source: Radford et al. 2021, Learning Transferable Visual Models, arXiv 2103.00020.
    """
    places = (input_ids == end_id).int().argmax(dim=1)
    return text_embeddings[torch.arange(len(text_embeddings)), places]


def make_word_mask(is_word: torch.Tensor) -> torch.Tensor:
    """Say which places may listen to which: no later ones, and no padding.

    Args:
        is_word: (L,) bool; False for padding.

    Returns:
        (L, L) bool; row i says what place i may listen to.
    """
    return is_word.expand(len(is_word), -1).tril()


def interpolate_on_arc(first: torch.Tensor, second: torch.Tensor, weight: float) -> torch.Tensor:
    """Interpolate vector by vector along the arc between them (slerp).

    Args:
        first: (..., D), given at weight 0.
        second: (..., D), given at weight 1.
        weight: 0 to 1.

    Returns:
        (..., D). Where the two have the same direction, the straight line, which is the limit.

    Source: Shoemake 1985, Animating Rotation with Quaternion Curves.
    """
    cosine = torch.cosine_similarity(first, second, dim=-1)[..., None].clamp(-1, 1)
    angle = cosine.acos()
    is_same = angle.sin() < _NEARLY_SAME
    sine = torch.where(is_same, 1.0, angle.sin())
    on_arc = (((1 - weight) * angle).sin() * first + (weight * angle).sin() * second) / sine
    return torch.where(is_same, (1 - weight) * first + weight * second, on_arc)

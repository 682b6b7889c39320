"""The exercises of notebook 03: ids, masks and vectors. They need no model.

First the right answers, then every `check_*`, which takes the reader's function and prints a
verdict.
"""

import torch

from sdhelpers.check import Function, Mistake, judge
from sdhelpers.latents import make_generator

_NEARLY_SAME = 1e-3  # sine of the angle between two directions
_START, _END = 49406, 49407  # as in CLIP's vocabulary, where padding is the end token, too


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


def check_unchanged(count_unchanged: Function) -> None:
    """Judge exercise 1: how many embeddings must two prompts have in common?

    Args:
        count_unchanged: (first_ids, second_ids), both (L,) int64 -> int: how many places, from
            the front, have the same embedding whatever the weights of the encoder are.
    """
    pairs = [
        ([320, 2368, 6765, 320, 21914], [320, 2368, 6765, 320, 4558]),
        ([320, 2368], [320, 1929]),
        ([320, 2368, 530, 518, 2583], [320, 1929, 530, 518, 2583]),
        ([320, 2368], [320, 2368]),
        ([2368], [320, 2368]),
    ]
    judge(
        count_unchanged,
        count_common_start,
        [(_make_ids(first), _make_ids(second)) for first, second in pairs],
        praise="an embedding is made from its own token and those before it, so two prompts share "
        "their embeddings up to the first place where the tokens differ, and none after it for "
        "sure: not even where the tokens agree again.",
        mistakes=[
            Mistake(
                lambda first, second: (first == second).sum().item(),
                "you counted all places with equal tokens. A place after the first difference has "
                "heard that difference, even if its own token is the same.",
            ),
            Mistake(
                lambda first, second: count_common_start(first, second) - 1,
                "one too few: the start token counts, too.",
            ),
            Mistake(
                lambda first, second: min(count_common_start(first, second) + 1, len(first)),
                "one too many: the place where the tokens differ is changed already.",
            ),
        ],
    )


def check_pool(pool: Function) -> None:
    """Judge exercise 2: the one vector that speaks for a whole prompt.

    Args:
        pool: (text_embeddings, input_ids, end_id), (B, L, D), (B, L) int64 and an int -> (B, D),
            the vectors at each prompt's first end token.
    """
    generator = make_generator(3)
    batches = [[[320, 2368], [320, 2368, 6765, 320, 4558], []], [[320, 2368, 530]]]
    cases = []
    for prompts in batches:
        input_ids = torch.stack([_make_ids(prompt) for prompt in prompts])
        cases.append((torch.randn((*input_ids.shape, 4), generator=generator), input_ids, _END))
    judge(
        pool,
        pool_at_end,
        cases,
        praise="the end token comes after all words, so causal attention has let it hear every "
        "one of them. CLIP was trained on this vector alone, and the library calls it "
        "pooler_output.",
        mistakes=[
            Mistake(
                lambda embeddings, input_ids, end_id: embeddings[:, -1],
                "that is the last place, which is padding. Padding repeats the end token, but you "
                "want its first occurrence.",
            ),
            Mistake(
                lambda embeddings, input_ids, end_id: embeddings[:, 0],
                "that is the start token. It comes first, so it has heard nothing.",
            ),
            Mistake(
                lambda embeddings, input_ids, end_id: pool_at_end(
                    embeddings.roll(1, dims=1), input_ids, end_id
                ),
                "that is one place too early: the last word, not the end token after it.",
            ),
            Mistake(
                lambda embeddings, input_ids, end_id: embeddings.mean(dim=1),
                "that is the mean over all places. You want the vector of one place.",
            ),
        ],
    )


def check_mask(make_mask: Function) -> None:
    """Judge exercise 3: who may listen to whom, if padding shall be silent, too.

    Args:
        make_mask: (is_word), (L,) bool, True first at the start token -> (L, L) bool: True in
            row i and column j if place i may listen to place j.
    """
    judge(
        make_mask,
        make_word_mask,
        [
            (torch.tensor([True, True, True, False, False]),),
            (torch.tensor([True, False, False]),),
            (torch.tensor([True, True]),),
        ],
        tolerance=0,
        praise="no later place, and no padding. And look at the rows of the words: they are the "
        "same as without the padding mask, because padding comes after the words anyway. In a "
        "causal encoder such a mask changes the embeddings of the padding only.",
        mistakes=[
            Mistake(
                lambda is_word: make_word_mask(torch.ones_like(is_word)),
                "the causal half is right. Now forbid the columns of the padding.",
            ),
            Mistake(
                lambda is_word: is_word.expand(len(is_word), -1),
                "padding is silent, but a place may still listen to later words.",
            ),
            Mistake(
                lambda is_word: make_word_mask(is_word).T,
                "rows and columns are swapped: row i lists what place i may listen to.",
            ),
            Mistake(
                lambda is_word: make_word_mask(torch.ones_like(is_word)) & is_word[:, None],
                "you silenced the rows of the padding, its ears. Silence its columns, its voice.",
            ),
            Mistake(
                lambda is_word: ~make_word_mask(is_word),
                "it is the right mask turned round: True shall mean allowed.",
            ),
            Mistake(
                lambda is_word: make_word_mask(is_word) & ~torch.eye(len(is_word), dtype=bool),
                "a place may listen to itself: the diagonal is allowed.",
            ),
        ],
    )


def check_slerp(slerp: Function) -> None:
    """Judge exercise 4: from one prompt to another along an arc.

    Args:
        slerp: (first, second, weight), (L, D), (L, D) and a number in [0, 1] -> (L, D).
    """
    generator = make_generator(4)
    first, second = torch.randn((2, 6, 5), generator=generator)
    first[0] = torch.tensor([2.0, 0, 0, 0, 0])  # its cosine with itself is 1 without rounding
    second_with_twin = torch.cat([first[:1], second[1:]])
    weights = (0.0, 0.25, 0.5, 1.0)
    cases = [(first, second, weight) for weight in weights]
    cases += [(first, second_with_twin, weight) for weight in weights]
    judge(
        slerp,
        interpolate_on_arc,
        cases,
        praise="every vector turns evenly from the first prompt's direction to the second's, and "
        "where both agree, as at the start token, it stays where it is.",
        mistakes=[
            Mistake(
                lambda first, second, weight: (1 - weight) * first + weight * second,
                "that is the straight line. The arc uses sines of the angle as weights.",
            ),
            Mistake(
                lambda first, second, weight: interpolate_on_arc(second, first, weight),
                "the two prompts are swapped: weight 0 must give the first.",
            ),
            Mistake(
                lambda first, second, weight: interpolate_on_arc(
                    first.flatten()[None], second.flatten()[None], weight
                ).reshape(first.shape),
                "you took one angle for the whole prompt. Every place has an angle of its own: "
                "sum over the last dimension only.",
            ),
        ],
    )
    if _gives_nan(slerp, first, second_with_twin):
        print(
            "hint: some vectors are equal in both prompts. The sine of their angle is 0, and\n"
            "  0 / 0 is not a number. Take the straight line there (torch.where). A cosine can\n"
            "  also be rounded to a little more than 1: clamp it."
        )


def _gives_nan(function: Function, *arguments: torch.Tensor) -> bool:
    """Tell whether a function of two tensors and a weight divides nothing by nothing."""
    try:
        result = function(*arguments, 0.5)
    except Exception:  # judge has said so
        return False
    return isinstance(result, torch.Tensor) and bool(result.isnan().any())


def _make_ids(words: list[int], length: int = 9) -> torch.Tensor:
    """Give a row of ids: start, words, end, padding."""
    padding = [_END] * (length - len(words) - 1)
    return torch.tensor([_START, *words, *padding])

"""Answers to the exercises of notebook 03; and ours are what the text encoder does."""

import torch

from sdhelpers.exercises.text_encoder import (
    check_mask,
    check_pool,
    check_slerp,
    check_unchanged,
    count_common_start,
    interpolate_on_arc,
    make_word_mask,
    pool_at_end,
)
from sdhelpers.latents import make_generator
from sdhelpers.model.parts import Components
from sdhelpers.text import encode_text, tokenize_prompt

PROMPTS = ["a cat riding a camel", "a cat riding a horse", "", "a castle at sunset"]


def count_in_a_loop(first_ids: torch.Tensor, second_ids: torch.Tensor) -> int:
    for place, (first, second) in enumerate(zip(first_ids, second_ids, strict=True)):
        if first != second:
            return place
    return len(first_ids)


def pool_in_a_loop(embeddings: torch.Tensor, input_ids: torch.Tensor, end_id: int) -> torch.Tensor:
    rows = [row.tolist().index(end_id) for row in input_ids]
    return torch.stack([one[place] for one, place in zip(embeddings, rows, strict=True)])


def mask_in_a_loop(is_word: torch.Tensor) -> torch.Tensor:
    length = len(is_word)
    rows = [[j <= i and bool(is_word[j]) for j in range(length)] for i in range(length)]
    return torch.tensor(rows)


def slerp_in_a_loop(first: torch.Tensor, second: torch.Tensor, weight: float) -> torch.Tensor:
    rows = []
    for one, other in zip(first.double(), second.double(), strict=True):
        angle = torch.acos((one @ other / one.norm() / other.norm()).clamp(-1, 1))
        if angle < 1e-4:
            rows.append((1 - weight) * one + weight * other)
        else:
            parts = torch.sin((1 - weight) * angle) * one + torch.sin(weight * angle) * other
            rows.append(parts / torch.sin(angle))
    return torch.stack(rows)


def naive_slerp(first: torch.Tensor, second: torch.Tensor, weight: float) -> torch.Tensor:
    angle = torch.cosine_similarity(first, second, dim=-1)[:, None].acos()
    parts = ((1 - weight) * angle).sin() * first + (weight * angle).sin() * second
    return parts / angle.sin()


def slerp_in_place(first: torch.Tensor, second: torch.Tensor, weight: float) -> torch.Tensor:
    return first.copy_(interpolate_on_arc(first, second, weight))


RIGHT = [
    (check_unchanged, count_in_a_loop),
    (check_pool, pool_in_a_loop),
    (check_mask, mask_in_a_loop),
    (check_slerp, slerp_in_a_loop),
]
WRONG = [
    (check_unchanged, lambda a, b: int((a == b).sum()), "you counted all places"),
    (check_unchanged, lambda a, b: count_common_start(a, b) - 1, "start token counts"),
    (check_unchanged, lambda a, b: min(9, count_common_start(a, b) + 1), "one too many"),
    (check_unchanged, lambda a, b: len(a), None),
    (check_pool, lambda e, ids, end: e[:, -1], "last place, which is padding"),
    (check_pool, lambda e, ids, end: e[:, 0], "It comes first"),
    (check_pool, lambda e, ids, end: e.mean(1), "mean over all places"),
    (
        check_pool,
        lambda e, ids, end: e[torch.arange(len(e)), (ids == end).int().argmax(1) - 1],
        "one place too early",
    ),
    (check_pool, lambda e, ids, end: e[ids == end], None),
    (check_mask, lambda w: torch.ones(len(w), len(w), dtype=bool).tril(), "columns of the padding"),
    (check_mask, lambda w: w.repeat(len(w), 1), "may still listen to later words"),
    (check_mask, lambda w: w.repeat(len(w), 1).tril().T, "rows and columns are swapped"),
    (
        check_mask,
        lambda w: torch.ones(len(w), len(w), dtype=bool).tril() & w[:, None],
        "Silence its columns",
    ),
    (check_mask, lambda w: ~w.repeat(len(w), 1).tril(), "turned round"),
    (check_mask, lambda w: w.repeat(len(w), 1).tril(-1), "listen to itself"),
    (check_slerp, lambda a, b, w: torch.lerp(a, b, w), "straight line"),
    (check_slerp, lambda a, b, w: slerp_in_a_loop(b, a, w), "swapped"),
    (check_slerp, naive_slerp, "0 / 0 is not a number"),
    (
        check_slerp,
        lambda a, b, w: naive_slerp(a.view(1, -1), b.view(1, -1), w).view_as(a),
        "one angle for the whole prompt",
    ),
]


def test_the_pooled_vector_is_the_librarys(components: Components) -> None:
    input_ids = tokenize_prompt(components.tokenizer, PROMPTS)
    with torch.no_grad():
        output = components.text_encoder(input_ids)
    pooled = pool_at_end(output.last_hidden_state, input_ids, components.tokenizer.eos_token_id)
    assert torch.equal(pooled, output.pooler_output)


def test_the_common_start_is_what_the_encoder_leaves_alone(components: Components) -> None:
    tokenizer, text_encoder = components.tokenizer, components.text_encoder
    first_ids, second_ids = tokenize_prompt(tokenizer, PROMPTS[:2])
    first, second = encode_text(tokenizer, text_encoder, PROMPTS[:2])
    is_equal = (first == second).all(dim=-1)
    count = count_common_start(first_ids, second_ids)
    assert 0 < count < len(first_ids)
    assert is_equal[:count].all()
    assert not is_equal[count]


def test_the_mask_is_the_librarys_and_leaves_the_words_alone(components: Components) -> None:
    """What the praise says: the embeddings of the words are those without a padding mask."""
    tokenizer, text_encoder = components.tokenizer, components.text_encoder
    input_ids = tokenize_prompt(tokenizer, PROMPTS[:1])
    num_words = len(tokenizer(PROMPTS[0]).input_ids)
    is_word = torch.arange(input_ids.shape[1]) < num_words
    with torch.no_grad():
        plain = text_encoder(input_ids).last_hidden_state
        by_vector = text_encoder(input_ids, attention_mask=is_word[None].long()).last_hidden_state
        mask = make_word_mask(is_word)[None, None]
        by_matrix = text_encoder(input_ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(by_matrix, by_vector, atol=1e-5, rtol=0)
    torch.testing.assert_close(by_matrix[:, :num_words], plain[:, :num_words], atol=1e-5, rtol=0)
    assert (by_matrix - plain)[:, num_words:].abs().max() > 0.1


def test_the_arc_keeps_lengths_and_turns_evenly() -> None:
    first, second = torch.randn((2, 8, 16), generator=make_generator(0))
    second = second * first.norm(dim=-1, keepdim=True) / second.norm(dim=-1, keepdim=True)
    for weight in (0.1, 0.5, 0.9):
        between = interpolate_on_arc(first, second, weight)
        torch.testing.assert_close(between.norm(dim=-1), first.norm(dim=-1))
        angle = torch.cosine_similarity(first, between, dim=-1).acos()
        whole = torch.cosine_similarity(first, second, dim=-1).acos()
        torch.testing.assert_close(angle, weight * whole, atol=1e-4, rtol=0)

"""The checkers of notebook 02: the right answer, likely wrong ones with their hints, the stub."""

from collections import Counter
from itertools import pairwise

import pytest

from sdhelpers.exercises.tokenizer import check_free_places, check_pair, check_row, check_text
from tests.notebooks.test_byte_pairs import read_functions


@pytest.fixture(scope="module")
def by_hand(components) -> dict:
    return read_functions(components.tokenizer)


def empty(*arguments: object) -> object:
    return ...


def assert_hint(text: str, hint: str | None) -> None:
    """None: the answer is right, and hears no hint."""
    assert text.startswith("right:" if hint is None else "not yet:"), text
    assert (hint or "") in text.partition("hint:")[2], text


@pytest.mark.parametrize(
    ("count", "hint"),
    [
        (lambda tokenizer, prompt: max(0, 75 - len(tokenizer.tokenize(prompt))), None),
        (lambda tokenizer, prompt: 77 - len(tokenizer.tokenize(prompt)), "start and the end"),
        (lambda tokenizer, prompt: 75 - len(tokenizer.tokenize(prompt)), "not fewer than none"),
        (lambda tokenizer, prompt: 75 - len(prompt.split()), "you counted words"),
        (lambda tokenizer, prompt: max(0, 75 - len(prompt.split())), "you counted words"),
        (
            lambda tokenizer, prompt: max(0, 75 - len(tokenizer(prompt, verbose=False).input_ids)),
            "once more",
        ),
    ],
)
def test_free_places(verdict, components, count, hint: str | None) -> None:
    tokenizer = components.tokenizer
    assert_hint(verdict(check_free_places, lambda p: count(tokenizer, p), tokenizer), hint)


def test_free_places_as_the_tokenizer_pads(verdict, components) -> None:
    """The oracle's numbers are the zeros of the tokenizer's own attention mask."""
    tokenizer = components.tokenizer

    def count_padding(prompt: str) -> int:
        encoding = tokenizer(prompt, padding="max_length", truncation=True)
        return encoding.attention_mask.count(0)

    assert verdict(check_free_places, count_padding, tokenizer).startswith("right:")


def row_cut_first(tokenizer, ids: list[int]) -> list[int]:
    row = [49406, *ids[:75], 49407]
    return row + [49407] * (77 - len(row))


def row_cut_last(tokenizer, ids: list[int]) -> list[int]:
    row = [49406, *ids, 49407]
    return (row + [49407] * (77 - len(row)))[:77]


def row_never_cut(tokenizer, ids: list[int]) -> list[int]:
    row = [49406, *ids, 49407]
    return row + [49407] * (77 - len(row))


def row_of_zeros(tokenizer, ids: list[int]) -> list[int]:
    row = [49406, *ids[:75], 49407]
    return row + [0] * (77 - len(row))


@pytest.mark.parametrize(
    ("make_row", "hint"),
    [
        (row_cut_first, None),
        (row_cut_last, "lost its end token"),
        (row_never_cut, "has to be cut"),
        (row_of_zeros, "exclamation mark"),
        (lambda tokenizer, ids: [*row_cut_first(tokenizer, ids)[1:], 49407], "begin with"),
    ],
)
def test_make_row(verdict, components, make_row, hint: str | None) -> None:
    tokenizer = components.tokenizer
    assert_hint(verdict(check_row, lambda ids: make_row(tokenizer, ids), tokenizer), hint)


@pytest.mark.parametrize("num_words", [0, 1, 74, 75, 76, 120])
def test_rows_are_the_tokenizers(components, num_words: int) -> None:
    tokenizer = components.tokenizer
    prompt = "horse " * num_words
    ids = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
    expected = tokenizer(prompt, padding="max_length", max_length=77, truncation=True).input_ids
    assert row_cut_first(tokenizer, ids) == expected


def test_tokens_to_text(verdict, components, by_hand) -> None:
    tokenizer, symbols = components.tokenizer, by_hand["byte_to_symbol"]
    byte_of = {symbol: byte for byte, symbol in symbols.items()}

    def right(tokens: list[str]) -> str:
        words = "".join(tokens).split("</w>")[:-1]
        return " ".join(bytes(byte_of[symbol] for symbol in word).decode() for word in words)

    def check(attempt) -> str:
        return verdict(check_text, attempt, tokenizer, symbols)

    assert check(right).startswith("right:")
    by_library = check(
        lambda tokens: tokenizer.decode(tokenizer.convert_tokens_to_ids(tokens)).strip()
    )
    assert by_library.startswith("right:")
    forgot_bytes = check(lambda tokens: "".join(tokens).replace("</w>", " ").strip())
    assert_hint(forgot_bytes, "stand for bytes")
    assert_hint(check(lambda tokens: right(tokens) + " "), "a space too many")
    assert_hint(check(lambda tokens: right(tokens).replace(" ", "")), "put a space there")
    spaced = check(lambda tokens: " ".join(tokens).replace("</w>", ""))
    assert_hint(spaced, "only where a token ends")
    assert "UnicodeDecodeError" in check(
        lambda tokens: "".join(
            bytes(byte_of[symbol] for symbol in token.removesuffix("</w>")).decode()
            + " " * token.endswith("</w>")
            for token in tokens
        ).strip()
    )


def most_frequent_pair(counts: dict[str, int], end: str = "</w>", weighted: bool = True) -> tuple:
    pairs = Counter()
    for word, count in counts.items():
        for pair in pairwise([*word[:-1], word[-1] + end]):
            pairs[pair] += count if weighted else 1
    return pairs.most_common(1)[0][0]


def test_most_frequent_pair(verdict) -> None:
    assert verdict(check_pair, most_frequent_pair).startswith("right:")
    unweighted = verdict(check_pair, lambda counts: most_frequent_pair(counts, weighted=False))
    assert_hint(unweighted, "as often as its word occurs")
    endless = verdict(check_pair, lambda counts: most_frequent_pair(counts, ""))
    assert_hint(endless, "carries </w>")


def test_the_commonest_pairs_are_unique() -> None:
    """No case has a tie: a right answer may not depend on which of two comes first."""
    cases = []
    check_pair(lambda counts: cases.append(counts) or most_frequent_pair(counts))
    assert len(cases) == 3
    for counts in cases:
        pairs = Counter()
        for word, count in counts.items():
            for pair in pairwise([*word[:-1], word[-1] + "</w>"]):
                pairs[pair] += count
        (_, first), (_, second) = pairs.most_common(2)
        assert first > second


def test_empty_stubs_are_not_attempted(verdict, components, by_hand) -> None:
    tokenizer = components.tokenizer
    symbols = by_hand["byte_to_symbol"]
    for check, arguments in (
        (check_free_places, (tokenizer,)),
        (check_row, (tokenizer,)),
        (check_text, (tokenizer, symbols)),
        (check_pair, ()),
    ):
        assert verdict(check, empty, *arguments).startswith("not attempted yet")

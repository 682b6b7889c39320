"""The exercises of notebook 02: places, rows, tokens back to text, and learning a merge."""

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from sdhelpers.check import Function, Mistake, judge

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_PROMPT = "a photograph of an astronaut riding a horse"


def check_free_places(attempt: Function, tokenizer: "CLIPTokenizer") -> None:
    """Judge a function that counts the places that a prompt leaves free.

    Args:
        attempt: (prompt) -> int, 0 or more.
        tokenizer: any CLIP tokenizer.
    """
    room = tokenizer.model_max_length

    def count(prompt: str) -> int:
        return len(tokenizer.tokenize(prompt))

    judge(
        attempt,
        lambda prompt: max(0, room - 2 - count(prompt)),
        [(_PROMPT,), ("",), ("a capybara in 2024, very detailed",), ("very " * 100 + "long",)],
        praise="you counted tokens, left room for start and end, and a full row has 0 places free.",
        mistakes=[
            Mistake(
                lambda prompt: room - count(prompt),
                "the start and the end token take a place each: two are never free.",
            ),
            Mistake(
                lambda prompt: room - 2 - count(prompt),
                "a prompt that is too long leaves no place free, and not fewer than none.",
            ),
            Mistake(
                lambda prompt: max(0, room - 2 - len(prompt.split())),
                "you counted words, but rare words, digits and commas take places of their own: "
                "count tokens.",
            ),
            Mistake(
                lambda prompt: room - 2 - len(prompt.split()),
                "you counted words, but rare words, digits and commas take places of their own: "
                "count tokens.",
            ),
            Mistake(
                lambda prompt: max(0, room - 2 - len(tokenizer(prompt, verbose=False).input_ids)),
                "the tokenizer had put start and end in already, and you took two off once more.",
            ),
        ],
    )


def check_row(attempt: Function, tokenizer: "CLIPTokenizer") -> None:
    """Judge a function that builds a full row of ids, cut or padded.

    Args:
        attempt: (word_ids), a list of ids without start and end -> list of 77 ids.
        tokenizer: any CLIP tokenizer; it says which ids start, end and padding have.
    """
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    padding, room = tokenizer.pad_token_id, tokenizer.model_max_length

    def oracle(word_ids: list[int]) -> list[int]:
        row = [start, *word_ids[: room - 2], end]
        return row + [padding] * (room - len(row))

    def cut_last(word_ids: list[int]) -> list[int]:
        row = [start, *word_ids, end]
        return (row + [padding] * (room - len(row)))[:room]

    def never_cut(word_ids: list[int]) -> list[int]:
        row = [start, *word_ids, end]
        return row + [padding] * (room - len(row))

    def pad_with_zero(word_ids: list[int]) -> list[int]:
        row = [start, *word_ids[: room - 2], end]
        return row + [0] * (room - len(row))

    horse = tokenizer.get_vocab()["horse</w>"]
    ids = tokenizer(_PROMPT, add_special_tokens=False).input_ids
    judge(
        attempt,
        oracle,
        [(ids,), ([],), ([horse] * (room - 2),), (list(range(1, room + 20)),)],
        praise="the end token survives the cut, because you cut the words before you add it.",
        mistakes=[
            Mistake(
                cut_last,
                "the row has the right length, but a long prompt has lost its end token. Cut the "
                "words first, then add start and end.",
            ),
            Mistake(never_cut, "a prompt that is too long has to be cut, or the row grows."),
            Mistake(
                pad_with_zero,
                "id 0 is an exclamation mark. Stable Diffusion 1 pads with tokenizer.pad_token_id.",
            ),
            Mistake(
                lambda word_ids: [*oracle(word_ids)[1:], padding],
                "the row has to begin with tokenizer.bos_token_id.",
            ),
        ],
    )


def check_text(
    attempt: Function, tokenizer: "CLIPTokenizer", byte_to_symbol: dict[int, str]
) -> None:
    """Judge a function that turns tokens back into text.

    Args:
        attempt: (tokens), a list of strings such as "horse</w>" -> text.
        tokenizer: any CLIP tokenizer.
        byte_to_symbol: 256 bytes -> the symbols that stand for them in tokens.
    """
    byte_of = {symbol: byte for byte, symbol in byte_to_symbol.items()}

    def oracle(tokens: list[str]) -> str:
        symbols = "".join(tokens).replace("</w>", " ").strip()
        return " ".join(
            bytes(byte_of[symbol] for symbol in word).decode() for word in symbols.split()
        )

    texts = ["a sailboat", "a capybara in a café", "a horse is a 馬 is a 🐴", "straße 2 4"]
    judge(
        attempt,
        oracle,
        [(tokenizer.tokenize(text),) for text in texts],
        praise="tokens are bytes in disguise, and only whole words can be decoded: one letter may "
        "be spread over several tokens.",
        mistakes=[
            Mistake(
                lambda tokens: "".join(tokens).replace("</w>", " ").strip(),
                "the symbols stand for bytes: look each up, and decode the bytes.",
            ),
            Mistake(
                lambda tokens: "".join(tokens).replace("</w>", " "),
                "there is a space too many at the end.",
            ),
            Mistake(
                lambda tokens: oracle(tokens) + " ",
                "there is a space too many at the end.",
            ),
            Mistake(
                lambda tokens: oracle(tokens).replace(" ", ""),
                "every </w> ends a word: put a space there.",
            ),
            Mistake(
                lambda tokens: " ".join(token.replace("</w>", "") for token in tokens),
                "a space belongs only where a token ends with </w>, not between all tokens.",
            ),
        ],
    )


def check_pair(attempt: Function) -> None:
    """Judge a function that learns one merge: the pair that occurs most often.

    Args:
        attempt: (counts), word -> how often it occurs -> (first piece, second piece).
    """
    judge(
        attempt,
        _most_frequent_pair,
        [
            ({"horse": 5, "house": 4, "mouse": 2},),
            ({"the": 50, "then": 9, "he": 5, "hen": 5, "ten": 3},),
            ({"banana": 2, "canal": 1, "tuba": 3},),
        ],
        praise="one merge learned. Join that pair everywhere, count again, and go on: 48,894 "
        "rounds of this made CLIP's list.",
        mistakes=[
            Mistake(
                lambda counts: _most_frequent_pair(dict.fromkeys(counts, 1)),
                "each pair counts as often as its word occurs, not once for each word.",
            ),
            Mistake(
                lambda counts: _most_frequent_pair(counts, ""),
                "the last letter of a word carries </w>.",
            ),
        ],
    )


def _most_frequent_pair(counts: dict[str, int], end: str = "</w>") -> tuple[str, str]:
    """Count neighbouring letters over all words, and give the commonest pair."""
    pairs: Counter[tuple[str, str]] = Counter()
    for word, count in counts.items():
        for pair in pairwise([*word[:-1], word[-1] + end]):
            pairs[pair] += count
    return max(pairs, key=pairs.__getitem__)

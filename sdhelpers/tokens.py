"""Look at prompts token by token: what fits, what is cut off, what the model never saw."""

import re
import string
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import BatchEncoding, CLIPTextModel, CLIPTokenizer

_APOSTROPHES = ("'", "\u2019")
_PUNCTUATION = string.punctuation + "\u2018\u2019\u201c\u201d\u2026"  # and curly quotes, dots


class TokenRow(NamedTuple):
    """One position of a tokenized prompt: `role` is start, word, end or padding."""

    position: int
    input_id: int
    token: str
    role: str


def find_lost_words(tokenizer: "CLIPTokenizer", prompt: str) -> str:
    """Give the end of a prompt that the model would not see, "" if all of it fits.

    Args:
        tokenizer: gives the room, 77 tokens for CLIP, of which start and end take two.
        prompt: one prompt.

    Returns:
        The lost text in the reader's own spelling. A word that is cut in two counts as lost from
        the first token that did not fit.
    """
    _check_one_prompt(prompt)
    room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    offsets = _tokenize_freely(tokenizer, prompt)["offset_mapping"]
    return prompt[offsets[room][0] :].strip() if len(offsets) > room else ""


def token_table(tokenizer: "CLIPTokenizer", prompt: str) -> list[TokenRow]:
    """List every position of a tokenized prompt, padding included.

    Args:
        tokenizer: any CLIP tokenizer.
        prompt: one prompt.

    Returns:
        One row for each of the 77 positions. In Stable Diffusion 1 padding is made of the end
        token; only its first occurrence has the role "end".
    """
    _check_one_prompt(prompt)
    room = tokenizer.model_max_length
    input_ids = tokenizer(prompt, padding="max_length", max_length=room, truncation=True).input_ids
    end = input_ids.index(tokenizer.eos_token_id)
    roles = ["start"] + ["word"] * (end - 1) + ["end"] + ["padding"] * (len(input_ids) - end - 1)
    tokens = tokenizer.convert_ids_to_tokens(input_ids)
    return [TokenRow(*row) for row in zip(range(len(roles)), input_ids, tokens, roles, strict=True)]


def unknown_words(
    tokenizer: "CLIPTokenizer", text_encoder: "CLIPTextModel", prompt: str
) -> list[str]:
    """List the words of a prompt that the model never saw in training.

    The tiny model keeps CLIP's whole vocabulary, but the embedding rows that its training never
    touched are zero: such a word carries no meaning, but it takes a place and can spoil the
    picture. A model trained on everything, such as Stable Diffusion, has no such row.

    Args:
        tokenizer: the one that belongs to the text encoder.
        text_encoder: its token embedding is looked at.
        prompt: one prompt.

    Returns:
        The words in the reader's own spelling, each once, in order. Punctuation is no word.
    """
    _check_one_prompt(prompt)
    encoding = _tokenize_freely(tokenizer, prompt)
    rows = text_encoder.get_input_embeddings().weight[encoding["input_ids"]]
    is_silent = (rows == 0).all(dim=1).tolist()
    silent_starts = [
        start
        for (start, end), silent in zip(encoding["offset_mapping"], is_silent, strict=True)
        if silent and _is_word_piece(prompt[start:end])
    ]
    unknown = [
        match.group().strip(_PUNCTUATION)
        for match in re.finditer(r"\S+", prompt)
        if any(match.start() <= start < match.end() for start in silent_starts)
    ]
    return list(dict.fromkeys(unknown))


def _is_word_piece(piece: str) -> bool:
    """Tell letters and digits from punctuation and from endings such as 's and 't."""
    return not piece.startswith(_APOSTROPHES) and any(map(str.isalnum, piece))


def _check_one_prompt(prompt: str) -> None:
    """Raise a ValueError unless this is a single string."""
    if not isinstance(prompt, str):
        raise ValueError(f"prompt must be one string here, got {prompt!r}.")


def _tokenize_freely(tokenizer: "CLIPTokenizer", prompt: str) -> "BatchEncoding":
    """Tokenize without limit, padding or special tokens, with the place of each token."""
    return tokenizer(
        prompt,
        add_special_tokens=False,
        padding=False,
        truncation=False,
        return_offsets_mapping=True,
        verbose=False,
    )

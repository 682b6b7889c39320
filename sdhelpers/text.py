"""Prompts: turned into input ids and embeddings, and looked at token by token."""

import re
import string
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from sdhelpers.model.device import execution_device

if TYPE_CHECKING:
    from transformers import BatchEncoding, CLIPTextModel, CLIPTokenizer

_APOSTROPHES = ("'", "\u2019")
_PUNCTUATION = string.punctuation + "\u2018\u2019\u201c\u201d\u2026"  # and curly quotes, dots


class PromptTooLongWarning(UserWarning):
    """Words fell off the end of a prompt because the text encoder has no room for them."""


def as_prompts(prompt: str | Sequence[str], name: str = "prompt") -> list[str]:
    """Give a list of prompts, checked.

    Args:
        prompt: one prompt or a sequence of them; an empty text is a prompt, too.
        name: what to call it in an error.

    Returns:
        A new list of one string or more.

    Raises:
        ValueError: if there is no prompt, or one is not a string.
    """
    if not isinstance(prompt, str | list | tuple):
        raise ValueError(f"{name} must be a string or a list of strings, got {prompt!r}.")
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise ValueError(f'{name} is an empty list: give at least one string ("" is allowed).')
    for entry in prompts:
        if not isinstance(entry, str):
            raise ValueError(
                f"{name} must hold strings only, got {entry!r} ({type(entry).__name__})."
            )
    return prompts


def match_negative_prompts(
    prompts: Sequence[str], negative_prompt: str | Sequence[str] | None
) -> list[str]:
    """Give one negative prompt for each prompt.

    Raises:
        ValueError: as `as_prompts`, or if the numbers differ.
    """
    if negative_prompt is None or isinstance(negative_prompt, str):
        return [negative_prompt or ""] * len(prompts)
    negative_prompts = as_prompts(negative_prompt, name="negative_prompt")
    if len(negative_prompts) != len(prompts):
        raise ValueError(
            f"{len(negative_prompts)} negative prompts were given for {len(prompts)} prompts: "
            "give one string for all of them, or one for each."
        )
    return negative_prompts


def tokenize_prompt(tokenizer: "CLIPTokenizer", prompt: str | Sequence[str]) -> torch.Tensor:
    """Turn prompts into rows of token ids of the one length that the text encoder reads.

    Args:
        tokenizer: the one that belongs to the text encoder.
        prompt: one prompt or several.

    Returns:
        input_ids: (B, 77) int64: start, the words, end, then padding. On the CPU.

    Raises:
        ValueError: as `as_prompts`.

    Warns:
        PromptTooLongWarning: names the words that did not fit.
    """
    prompts = as_prompts(prompt)
    for entry in prompts:
        lost = find_lost_words(tokenizer, entry)
        if lost:
            warnings.warn(
                f"The prompt is too long: the model reads {tokenizer.model_max_length} tokens, "
                f'start and end included. It never sees: "{lost}"',
                PromptTooLongWarning,
                stacklevel=_level_of_caller(),
            )
    return tokenizer(
        prompts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids


def _level_of_caller() -> int:
    """Give the stacklevel at which a warning points to the line that called this package."""
    frame, level, outermost = sys._getframe(1), 1, 1
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("sdhelpers."):
            outermost = level
        frame, level = frame.f_back, level + 1
    return outermost + 1


@torch.no_grad()
def encode_text(
    tokenizer: "CLIPTokenizer", text_encoder: "CLIPTextModel", prompt: str | Sequence[str]
) -> torch.Tensor:
    """Turn prompts into what the UNet hears.

    Args:
        tokenizer: the one that belongs to the text encoder.
        text_encoder: gives its last hidden state, after the final layer norm.
        prompt: one prompt or several.

    Returns:
        text_embeddings: (B, 77, D) in the text encoder's dtype and on its device. The pipeline
        calls them `prompt_embeds`, the UNet `encoder_hidden_states`.

    Raises:
        ValueError: as `as_prompts`.
    """
    input_ids = tokenize_prompt(tokenizer, prompt)
    return text_encoder(input_ids.to(execution_device(text_encoder))).last_hidden_state


def encode_prompt(
    tokenizer: "CLIPTokenizer",
    text_encoder: "CLIPTextModel",
    prompt: str | Sequence[str],
    negative_prompt: str | Sequence[str] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode prompts and their unconditional or negative partners.

    Args:
        tokenizer: the one that belongs to the text encoder.
        text_encoder: gives its last hidden state.
        prompt: B prompts, or one string for B = 1.
        negative_prompt: what guidance pushes away from: one string for all, or one for each
            prompt; None: the empty prompt.

    Returns:
        text_embeddings, uncond_embeddings: (B, 77, D) each, in the pipeline's order. For the
        UNet's batch, `guidance.join_embeddings` puts the unconditional half first.

    Raises:
        ValueError: as `as_prompts`, or if there are not as many negative prompts as prompts.
    """
    prompts = as_prompts(prompt)
    negative_prompts = match_negative_prompts(prompts, negative_prompt)
    text_embeddings = encode_text(tokenizer, text_encoder, prompts)
    return text_embeddings, encode_text(tokenizer, text_encoder, negative_prompts)


class TokenRow(NamedTuple):
    """One position of a tokenized prompt: `role` is start, word, end or padding."""

    position: int
    input_id: int
    token: str
    role: str


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

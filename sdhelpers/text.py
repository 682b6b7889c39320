"""Turn prompts into input ids, and input ids into text embeddings.

What looks at single tokens is in `tokens`; its functions can be imported from here, too.
"""

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from sdhelpers.device import execution_device
from sdhelpers.tokens import find_lost_words as find_lost_words
from sdhelpers.tokens import token_table as token_table
from sdhelpers.tokens import unknown_words as unknown_words

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer


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


def _level_of_caller() -> int:
    """Give the stacklevel at which a warning points to the line that called this package."""
    frame, level, outermost = sys._getframe(1), 1, 1
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("sdhelpers."):
            outermost = level
        frame, level = frame.f_back, level + 1
    return outermost + 1

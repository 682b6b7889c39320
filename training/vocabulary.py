"""The tokenizer of every stage, and which of its tokens occur in captions."""

from pathlib import Path

import torch
from transformers import CLIPTokenizer

from sdhelpers.text import tokenize_prompt

# The true CLIP vocabulary, which ships with the package; its files are data, not code.
TOKENIZER_FOLDER = Path(__file__).parents[1] / "sdhelpers" / "tiny_sd" / "tokenizer"


def load_tokenizer() -> CLIPTokenizer:
    """Load the CLIP tokenizer."""
    return CLIPTokenizer.from_pretrained(TOKENIZER_FOLDER)


def used_token_ids(input_ids: torch.Tensor, tokenizer: CLIPTokenizer) -> torch.Tensor:
    """Return the ids that occur in captions or in the empty prompt, (K,) int64.

    Args:
        input_ids: (N, 77) int, of the captions.
        tokenizer: CLIPTokenizer.
    """
    empty_ids = tokenize_prompt(tokenizer, "")
    return torch.cat([input_ids.unique().long(), empty_ids.unique()]).unique()

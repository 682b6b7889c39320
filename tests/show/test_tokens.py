"""Tokens and the places they take, compared with the tokenizer's own ids and attention mask."""

import numpy as np
import pytest
import torch

from sdhelpers.show import draw_budget, draw_tokens, show_budget, show_tokens
from sdhelpers.show.tokens import place_roles
from sdhelpers.text import find_lost_words
from tests.conftest import PROMPT

pytestmark = pytest.mark.usefixtures("no_window")


@pytest.mark.parametrize("given", [list, np.array])
def test_tokens_are_drawn_in_rows_that_fit(given) -> None:
    tokens = ["<|startoftext|>", *(f"word{i}</w>" for i in range(20)), "$</w>", "<|endoftext|>"]
    (axis,) = draw_tokens(given(tokens), given(range(len(tokens)))).axes
    texts = [text.get_text() for text in axis.texts]
    assert texts[::2] == [token.replace("$", r"\$") for token in tokens]
    assert texts[1::2] == [str(number) for number in range(len(tokens))]
    boxes = axis.patches
    assert all(box.get_x() + box.get_width() <= axis.get_xlim()[1] for box in boxes)
    assert len({box.get_y() for box in boxes}) > 1
    lit = [box.get_facecolor() for box in boxes]
    assert lit[0] == lit[-1] != lit[1]


def test_the_ids_of_a_tensor_are_written_as_numbers() -> None:
    (axis,) = draw_tokens(["cat</w>"], torch.tensor([2368])).axes
    assert [text.get_text() for text in axis.texts] == ["cat</w>", "2368"]


@pytest.mark.parametrize("num_words", [0, 1, 74, 75, 76, 100, 300])
def test_roles_agree_with_the_tokenizer(components, num_words: int) -> None:
    tokenizer = components.tokenizer
    prompt = "horse " * num_words
    room = tokenizer.model_max_length
    roles = place_roles(tokenizer, prompt)
    encoding = tokenizer(prompt, padding="max_length", max_length=room, truncation=True)
    assert len(roles) == max(room, num_words + 2)
    assert [role in ("start", "word", "end") for role in roles[:room]] == [
        bool(mask) for mask in encoding.attention_mask
    ]
    assert roles[0] == "start"
    assert roles.count("end") == 1
    assert roles.count("word") == encoding.input_ids.count(tokenizer.get_vocab()["horse</w>"])
    assert roles[room:] == ["lost"] * max(0, num_words - (room - 2))
    assert len(find_lost_words(tokenizer, prompt).split()) == roles.count("lost")


def test_the_strip_writes_the_count_and_has_one_square_for_each_place(components) -> None:
    """Up to a page's width: of a very long prompt, not all lost tokens are drawn."""
    prompts = {"for $5 or $6": PROMPT, "long": "horse " * 80, "longer": "horse " * 1000}
    (axis,) = draw_budget(components.tokenizer, prompts).axes
    assert [text.get_text() for text in axis.texts] == [
        *(r"for \$5 or \$6", "8 of 75 used, 67 free"),
        *("long", "75 of 75 used, 5 lost"),
        *("longer", "75 of 75 used, 925 lost"),
    ]
    assert [len(bars) for bars in axis.containers] == [77, 82, 101]


def test_showing_returns_nothing_and_bad_input_is_named(components) -> None:
    assert show_tokens(["a</w>"], [320]) is None
    assert show_budget(components.tokenizer, {"": ""}) is None
    for tokens, ids, message in (([], [], "0 tokens and 0"), (["a"], [1, 2], "1 tokens and 2 ids")):
        with pytest.raises(ValueError, match=message):
            draw_tokens(tokens, ids)
    with pytest.raises(ValueError, match="no prompt"):
        draw_budget(components.tokenizer, {})
    with pytest.raises(ValueError, match="one string"):
        place_roles(components.tokenizer, None)

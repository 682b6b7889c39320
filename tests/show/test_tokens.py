"""Which places a prompt fills, compared with the tokenizer's own ids and attention mask."""

import pytest
from matplotlib import pyplot as plt

from sdhelpers.show.tokens import draw_budget, place_roles, show_budget
from sdhelpers.text import find_lost_words
from tests.conftest import PROMPT


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


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
    figure = draw_budget(components.tokenizer, {"short": PROMPT, "long": "horse " * 80})
    (axis,) = figure.axes
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["short", "8 of 75 used, 67 free", "long", "75 of 75 used, 5 lost"]
    assert [len(bars) for bars in axis.containers[:2]] == [77, 82]


def test_a_very_long_prompt_stays_on_the_page(components) -> None:
    (axis,) = draw_budget(components.tokenizer, {"long": "horse " * 1000}).axes
    assert len(axis.containers[0]) < 110
    assert axis.texts[1].get_text() == "75 of 75 used, 925 lost"


def test_showing_returns_nothing_and_bad_input_is_named(components) -> None:
    assert show_budget(components.tokenizer, {"": ""}) is None
    with pytest.raises(ValueError, match="no prompt"):
        draw_budget(components.tokenizer, {})
    with pytest.raises(ValueError, match="one string"):
        place_roles(components.tokenizer, None)

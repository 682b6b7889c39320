"""Prompts to ids to embeddings, compared with the tokenizer, the encoder and the pipeline."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from sdhelpers import generate
from sdhelpers.text import (
    PromptTooLongWarning,
    as_prompts,
    encode_prompt,
    find_lost_words,
    match_negative_prompts,
    token_table,
    tokenize_prompt,
    unknown_words,
)
from tests.conftest import PROMPT

# As OpenAI's CLIP tokenizes it.
ASTRONAUT_IDS = [49406, 320, 8853, 539, 550, 18376, 6765, 320, 4558, 49407]


def test_known_ids(components) -> None:
    tokenizer = components.tokenizer
    input_ids = tokenize_prompt(tokenizer, PROMPT)
    assert input_ids.shape == (1, tokenizer.model_max_length)
    assert input_ids.dtype == torch.int64
    assert input_ids[0, : len(ASTRONAUT_IDS)].tolist() == ASTRONAUT_IDS
    assert set(input_ids[0, len(ASTRONAUT_IDS) :].tolist()) == {tokenizer.pad_token_id}
    assert len(tokenizer) == 49408


def test_several_prompts_equal_one_by_one(components) -> None:
    prompts = ["", PROMPT, "Ein Pferd, 馬!"]
    together = tokenize_prompt(components.tokenizer, prompts)
    alone = torch.cat([tokenize_prompt(components.tokenizer, prompt) for prompt in prompts])
    assert torch.equal(together, alone)


def test_a_prompt_that_just_fits_says_nothing(components) -> None:
    room = components.tokenizer.model_max_length - 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenize_prompt(components.tokenizer, "horse " * room)
    assert find_lost_words(components.tokenizer, "horse " * room) == ""
    assert find_lost_words(components.tokenizer, "") == ""


def test_a_prompt_that_is_too_long_names_what_is_lost(components) -> None:
    room = components.tokenizer.model_max_length - 2
    prompt = "horse " * room + "Wearing a Café crown"
    assert find_lost_words(components.tokenizer, prompt) == "Wearing a Café crown"
    with pytest.warns(PromptTooLongWarning, match="Wearing a Café crown") as caught:
        input_ids = tokenize_prompt(components.tokenizer, [PROMPT, prompt])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert torch.equal(input_ids[1], tokenize_prompt(components.tokenizer, "horse " * room)[0])


def test_embeddings_equal_the_pipelines(components, pipeline) -> None:
    prompts = [PROMPT, "a red apple"]
    for negative_prompt in (None, ["a horse", ""]):
        expected_text, expected_uncond = pipeline.encode_prompt(
            prompts, "cpu", 1, True, negative_prompt=negative_prompt
        )
        text_embeddings, uncond_embeddings = encode_prompt(
            components.tokenizer, components.text_encoder, prompts, negative_prompt
        )
        torch.testing.assert_close(text_embeddings, expected_text, atol=0, rtol=0)
        torch.testing.assert_close(uncond_embeddings, expected_uncond, atol=0, rtol=0)
        assert not text_embeddings.requires_grad
    assert (text_embeddings - uncond_embeddings).abs().max() > 0.1


def test_one_negative_prompt_serves_all(components) -> None:
    assert match_negative_prompts(["a", "b"], "blue") == ["blue", "blue"]
    assert match_negative_prompts(["a", "b"], None) == ["", ""]
    assert match_negative_prompts(["a", "b"], ["c", "d"]) == ["c", "d"]
    with pytest.raises(ValueError, match="3 negative prompts were given for 2 prompts"):
        match_negative_prompts(["a", "b"], ["c", "d", "e"])
    with pytest.raises(ValueError, match="negative_prompt must hold strings only, got 3"):
        match_negative_prompts(["a"], [3])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "empty list"),
        (None, "must be a string or a list of strings, got None"),
        (b"horse", "must be a string or a list"),
        (["a", 3], r"got 3 \(int\)"),
        (["a", None], r"got None \(NoneType\)"),
    ],
)
def test_bad_prompts(components, prompt, message) -> None:
    with pytest.raises(ValueError, match=message):
        as_prompts(prompt)
    with pytest.raises(ValueError, match=message):
        encode_prompt(components.tokenizer, components.text_encoder, prompt)


def test_token_table(components) -> None:
    table = token_table(components.tokenizer, "a sailboat")
    assert [row.token for row in table[:5]] == [
        "<|startoftext|>",
        "a</w>",
        "sail",
        "boat</w>",
        "<|endoftext|>",
    ]
    roles = [row.role for row in table]
    assert roles == ["start", "word", "word", "word", "end"] + ["padding"] * (len(table) - 5)
    input_ids = tokenize_prompt(components.tokenizer, "a sailboat")[0].tolist()
    assert [row.input_id for row in table] == input_ids
    assert [row.position for row in table] == list(range(components.tokenizer.model_max_length))


def test_unknown_words_in_the_readers_own_spelling(components) -> None:
    tokenizer, text_encoder = components.tokenizer, components.text_encoder
    assert unknown_words(tokenizer, text_encoder, PROMPT) == []
    assert unknown_words(tokenizer, text_encoder, "") == []
    prompt = "An Astronaut's “Zeppelin” & Qwertyish-ZEPPELIN; a Zeppelin, don't: 馬 …"
    expected = ["Zeppelin", "Qwertyish-ZEPPELIN", "don't", "馬"]
    with silenced(components, "zeppelin qwertyish don 馬"):
        assert unknown_words(tokenizer, text_encoder, prompt) == expected


def test_unknown_words_are_those_without_an_embedding(components) -> None:
    """The rule is the model's own: give a word an embedding, and it is known."""
    tokenizer, text_encoder = components.tokenizer, components.text_encoder
    with silenced(components, "horse zeppelin"):
        assert unknown_words(tokenizer, text_encoder, "horse zeppelin") == ["horse", "zeppelin"]
    assert unknown_words(tokenizer, text_encoder, "horse") == []
    with silenced(components, "zeppelin", value=0.1):
        assert unknown_words(tokenizer, text_encoder, "zeppelin") == []


@contextmanager
def silenced(components, words: str, value: float = 0.0) -> Iterator[None]:
    """Set the embedding rows of words to one value, and put them back."""
    rows = components.text_encoder.get_input_embeddings().weight.data
    input_ids = components.tokenizer(words, add_special_tokens=False).input_ids
    kept = rows[input_ids].clone()
    rows[input_ids] = value
    try:
        yield
    finally:
        rows[input_ids] = kept


@pytest.mark.parametrize("prompt", [["a", "b"], None, 3])
def test_one_prompt_means_one(components, prompt) -> None:
    for look in (
        lambda: token_table(components.tokenizer, prompt),
        lambda: find_lost_words(components.tokenizer, prompt),
        lambda: unknown_words(components.tokenizer, components.text_encoder, prompt),
    ):
        with pytest.raises(ValueError, match="must be one string here"):
            look()


def test_the_warning_points_to_the_readers_line_however_deep(components) -> None:
    prompt = "horse " * components.tokenizer.model_max_length
    settings = {"num_inference_steps": 1, "height": 64, "width": 64, "show_progress": False}
    with pytest.warns(PromptTooLongWarning) as caught:
        generate(components, prompt, **settings)
    assert [warning.filename for warning in caught] == [__file__]

"""Notebook 02's byte-pair merging by hand, taken out of the notebook, against the library."""

import ast
from itertools import pairwise

import nbformat
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.notebooks.test_notebooks import NOTEBOOKS

# What the functions of the notebook look up, beside each other.
_TABLES = {"model_file", "merges", "ranks", "PATTERN", "keep", "borrow", "byte_to_symbol"}
_ALPHABETS = {
    "english": "abcdefghijklmnopqrstuvwxyz",
    "european": "äöüßéèêçñøåœžšłőABCÄÖÜÉ",
    "other scripts": "лошадьαλογο馬骑宇航员うまऊँट말",
    "signs": "0123456789½²_-'.,:;!?()[]{}<>|/\\\"#%&*+=~^",
    "emoji": "🐴🦄🚀🦙🙂👩\u200d\ufe0f",
}


def read_functions(tokenizer) -> dict:
    """Run only the definitions of notebook 02: its functions and the tables that they use."""
    (path,) = [path for path in NOTEBOOKS if path.name.startswith("02")]
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    namespace = {"tokenizer": tokenizer, "vocabulary": tokenizer.get_vocab()}
    wanted = []
    for node in ast.parse("\n\n".join(cells)).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        is_table = any(getattr(target, "id", None) in _TABLES for target in targets)
        is_function = isinstance(node, ast.FunctionDef) and node.name != "paint"
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        if is_table or is_function or is_import:
            wanted.append(node)
    exec(compile(ast.Module(wanted, []), str(path), "exec"), namespace)
    assert set(namespace) >= _TABLES | {"split_letters", "merge_pair", "merge_word", "encode"}
    return namespace


@pytest.fixture(scope="module")
def by_hand(components) -> dict:
    return read_functions(components.tokenizer)


def texts(*names: str) -> st.SearchStrategy[str]:
    return st.text("".join(_ALPHABETS[name] for name in names) + " ", max_size=60)


def assert_same(components, by_hand, text: str) -> None:
    expected = components.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    assert by_hand["encode"](text) == expected


@settings(max_examples=300, deadline=None)
@given(word=st.text(_ALPHABETS["english"], min_size=1, max_size=30))
def test_random_words(components, by_hand, word: str) -> None:
    pieces = by_hand["merge_word"](word)
    assert pieces == components.tokenizer.tokenize(word)
    assert "".join(pieces) == word + "</w>"


@settings(max_examples=300, deadline=None)
@given(text=texts(*_ALPHABETS))
def test_random_texts_of_all_scripts(components, by_hand, text: str) -> None:
    assert_same(components, by_hand, text)


@settings(max_examples=100, deadline=None)
@given(text=texts("english", "signs"))
def test_random_texts_with_signs(components, by_hand, text: str) -> None:
    assert_same(components, by_hand, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        "don't you'll I'M",
        "e\u0301 \u00e9",
        "a" * 200,
        "''s 's''",
        "x\u00a0y",
        "...!!!?",
    ],
)
def test_hard_texts(components, by_hand, text: str) -> None:
    assert_same(components, by_hand, text)


def test_the_pattern_and_the_merges_are_the_tokenizers_own(components, by_hand) -> None:
    pre_tokenizer = components.tokenizer.backend_tokenizer.pre_tokenizer
    text = "It's 2024: a café, 馬 & 🐴!!! <b>x_y</b>".lower()
    (pieces, offsets) = zip(*pre_tokenizer.pre_tokenize_str(text), strict=True)
    assert regex.findall(by_hand["PATTERN"], text) == [text[start:end] for start, end in offsets]
    assert len(pieces) == len(offsets) > 10
    assert len(by_hand["ranks"]) == len(by_hand["merges"]) == 48_894


def test_an_id_is_512_and_the_rank(components, by_hand) -> None:
    vocabulary = components.tokenizer.get_vocab()
    symbols = list(by_hand["byte_to_symbol"].values())
    expected = symbols + [symbol + "</w>" for symbol in symbols]
    expected += [first + second for first, second in by_hand["merges"]]
    expected += [components.tokenizer.bos_token, components.tokenizer.eos_token]
    assert components.tokenizer.convert_ids_to_tokens(range(len(vocabulary))) == expected
    assert len(vocabulary) == 256 + 256 + 48_894 + 2


def test_a_wrong_order_of_merges_is_noticed(components, by_hand) -> None:
    """Merging from the left instead of by rank must not agree, or the comparison proves nothing."""

    def from_the_left(word: str) -> list[str]:
        pieces = by_hand["split_letters"](word)
        while known := [pair for pair in pairwise(pieces) if pair in by_hand["ranks"]]:
            pieces = by_hand["merge_pair"](pieces, known[0])
        return pieces

    words = ["astronaut", "capybara", "velociraptor", "sailboat", "watercolour"]
    assert [from_the_left(word) for word in words] != [
        components.tokenizer.tokenize(word) for word in words
    ]

"""check_close and judge: right, wrong, empty, broken, and what they say."""

import numpy as np
import pytest
import torch

from sdhelpers.check import Mistake, check_close, describe_difference, judge

ONES = torch.ones(2, 3)


def double(values: torch.Tensor) -> torch.Tensor:
    return 2 * values


def verdict(capsys: pytest.CaptureFixture, attempt: object, **options: object) -> str:
    mistakes = [Mistake(lambda values: 3 * values, "that is three times as much")]
    judge(attempt, double, [(ONES,), (-ONES,)], praise="it doubles", mistakes=mistakes, **options)
    return " ".join(capsys.readouterr().out.split())


def test_check_close_says_how_much_was_compared(capsys: pytest.CaptureFixture) -> None:
    check_close(ONES + 9e-6, ONES)
    assert capsys.readouterr().out == "equal: 6 values, none further apart than 1e-05\n"


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (ONES + 2e-5, ONES),
        (ONES[:1], ONES),
        (ONES * torch.nan, ONES),
        (torch.tensor([torch.inf]), torch.tensor([1.0])),
        ([1.0, 2.0], [2.0, 1.0]),
        ([1.0], [1.0, 2.0]),
        (1.0, 1.1),
        (True, 1),
        ("a", "b"),
        (["a</w>"], ["a"]),
        (None, ONES),
        (np.ones(3), ONES),
    ],
)
def test_check_close_fails(actual: object, expected: object) -> None:
    with pytest.raises(AssertionError, match="The two differ: "):
        check_close(actual, expected)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (ONES, ONES.numpy()),
        (ONES.numpy(), ONES),
        (ONES.to(torch.float16), ONES),
        (torch.tensor(2.0), 2),
        (np.float32(2), 2.0),
        ([ONES, (1, "a")], [ONES, (1, "a")]),
        (torch.zeros(0), torch.zeros(0)),
    ],
)
def test_what_agrees(actual: object, expected: object) -> None:
    assert describe_difference(actual, expected, 1e-5) is None


def test_the_share_that_may_differ() -> None:
    actual = torch.zeros(100)
    actual[0] = 1
    assert describe_difference(actual, torch.zeros(100), 0.5, share=0.01) is None
    assert "2% of the values" in describe_difference(
        actual + actual.roll(1), torch.zeros(100), 0.5, share=0.01
    )


def test_right(capsys: pytest.CaptureFixture) -> None:
    assert verdict(capsys, double) == "right: it doubles"


@pytest.mark.parametrize("empty", [lambda values: ..., lambda values: None, ..., None])
def test_not_attempted(capsys: pytest.CaptureFixture, empty: object) -> None:
    assert verdict(capsys, empty).startswith("not attempted yet: ")


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda values: values + 1, "in case 2 of 2, the value at [0, 0] is 0, expected -2"),
        (lambda values: 3 * values, "hint: that is three times as much"),
        (lambda values: values * 2.001, "(100% of the values differ)"),
        (lambda values: values[0] * 2, "the shape is (3,), expected (2, 3)"),
        (lambda values: values.mul_(2), "changed its arguments"),
        (lambda values: values.nothing, "your function raised AttributeError: "),
        (lambda: 1, "your function raised TypeError: "),
        (lambda values: "two", "the result is a str, expected a tensor"),
        (ONES, "this asks for a function"),
    ],
)
def test_not_yet(capsys: pytest.CaptureFixture, attempt: object, words: str) -> None:
    found = verdict(capsys, attempt)
    assert found.startswith("not yet: ")
    assert words in found


def test_only_the_fitting_hint_is_given(capsys: pytest.CaptureFixture) -> None:
    assert "hint" not in verdict(capsys, lambda values: 4 * values)


def test_the_cases_are_left_unchanged(capsys: pytest.CaptureFixture) -> None:
    case = (ONES.clone(), [1, 2])
    judge(lambda a, b: b.append(3) or a.zero_(), lambda a, b: a, [case], praise="")
    capsys.readouterr()
    assert case[0].equal(ONES)
    assert case[1] == [1, 2]


def test_modules_are_handed_over_and_gradients_are_off(capsys: pytest.CaptureFixture) -> None:
    layer = torch.nn.Linear(3, 3)
    seen = []

    def call(module: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
        seen.append(module)
        return module(values)

    with_a_graph = layer(ONES)
    judge(call, lambda module, values: module(values), [(layer, with_a_graph)], praise="yes")
    assert capsys.readouterr().out == "right: yes\n"
    assert seen == [layer]


def test_no_cases_would_prove_nothing() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        judge(double, double, [], praise="")


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (3, np.int64(4)),
        (torch.tensor(1.0), np.float32(5)),
        (True, np.bool_(False)),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": [torch.ones(2)]}, {"a": [torch.zeros(2)]}),
        ([("a", "b")], {"a": "b"}),
        ({0: "a"}, ["a"]),
        (["a"], ["a", "b"]),
        ("ab", ["a", "b"]),
    ],
)
def test_unequal_scalars_and_dicts(actual: object, expected: object) -> None:
    with pytest.raises(AssertionError, match="The two differ: "):
        check_close(actual, expected)


def test_equal_scalars_and_dicts(capsys: pytest.CaptureFixture) -> None:
    check_close(np.float32(4), np.int64(4))
    check_close({"a": torch.ones(3), "b": 2}, {"b": 2, "a": np.ones(3)})
    assert "equal: 4 values" in capsys.readouterr().out


@pytest.mark.parametrize("expected", [None, range(3), 1j, np.complex64(1), [1, object()]])
def test_what_cannot_be_compared_is_refused(expected: object) -> None:
    with pytest.raises(TypeError, match="check_close compares tensors"):
        check_close(expected, expected)


def test_a_changed_dict_is_noticed(capsys: pytest.CaptureFixture) -> None:
    def take_all(counts: dict) -> int:
        return sum(counts.pop(key) for key in list(counts))

    judge(take_all, lambda counts: sum(counts.values()), [({"a": 1, "b": 2},)], praise="added")
    assert "changed its arguments" in capsys.readouterr().out

"""Judge a reader's work: `check_close` compares two results, `judge` an exercise's function.

The exercises themselves, one module for each notebook, are in `sdhelpers.exercises`.
"""

import copy
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Function = Callable[..., object]
_WIDTH = 88  # letters in a line of a verdict
_COMPARABLE = (torch.Tensor, np.ndarray, np.generic, int, float, str)


@dataclass(frozen=True)
class Mistake:
    """A likely wrong answer, and what to say to who gives it.

    Attributes:
        function: takes what the exercise's function takes, and makes the mistake.
        hint: one or two sentences.
    """

    function: Function
    hint: str


def check_close(actual: object, expected: object, tolerance: float = 1e-5) -> None:
    """Say that two results agree, or raise.

    Args:
        actual: a tensor, an array, a number, a text, or a list, tuple or dict of them.
        expected: likewise.
        tolerance: the largest absolute difference that is allowed.

    Raises:
        AssertionError: with the first difference that can be seen.
        TypeError: if `expected` is of another kind, which could not be compared.
    """
    if not _is_comparable(expected):
        raise TypeError(
            "check_close compares tensors, arrays, numbers, texts, and lists, tuples or dicts of "
            f"them; got {_short(expected)}."
        )
    difference = describe_difference(actual, expected, tolerance)
    if difference:
        raise AssertionError(f"The two differ: {difference}.")
    count = _count_values(expected)
    print(f"equal: {count:,} values, none further apart than {tolerance:g}")


def judge(
    attempt: Function,
    oracle: Function,
    cases: Sequence[tuple],
    *,
    praise: str,
    mistakes: Sequence[Mistake] = (),
    tolerance: float = 1e-5,
    share: float = 0.0,
) -> None:
    """Print a verdict on an exercise: "not attempted yet", "right" or "not yet", and why.

    Args:
        attempt: the reader's function. One that returns `...` or None counts as not attempted.
        oracle: the right function.
        cases: arguments to call both with, one tuple for each call. Each call gets copies of
            them, so an attempt that changes its arguments is noticed. Modules are not copied.
        praise: why the right answer is right.
        mistakes: likely wrong answers, the first that fits gives the hint.
        tolerance: the largest absolute difference that is allowed.
        share: of a tensor's values that may differ by more; above 0 where values are rounded to
            whole levels, and the last digit before rounding decides.

    Raises:
        ValueError: if there are no cases: nothing would have been checked.
    """
    if not cases:
        raise ValueError("judge needs at least one case to call the function with.")
    if not callable(attempt):
        _say("not attempted yet" if _is_empty(attempt) else "not yet", "this asks for a function")
        return
    for number, arguments in enumerate(cases, 1):
        with torch.no_grad():
            expected = oracle(*_copies(arguments))
            given = _copies(arguments)
            try:
                actual = attempt(*given)
            except Exception as error:  # whatever the reader's code raises is for the reader
                _say("not yet", f"your function raised {type(error).__name__}: {error}")
                return
        if _is_empty(actual):
            _say("not attempted yet", "replace the dots by your code and run the cell again")
            return
        changed = describe_difference(given, arguments, 0.0)
        difference = describe_difference(actual, expected, tolerance, share)
        if difference:
            _say("not yet", f"in case {number} of {len(cases)}, {difference}")
            _hint_at(actual, arguments, mistakes, tolerance, share)
            return
        if changed:
            _say("not yet", "the result is right, but your function changed its arguments")
            return
    _say("right", praise)


def describe_difference(
    actual: object, expected: object, tolerance: float, share: float = 0.0
) -> str | None:
    """Describe the first difference between two results.

    Args:
        actual: tensors, arrays, numbers, texts, or (nested) lists, tuples or dicts of them.
        expected: likewise; anything else, such as a module, is not compared.
        tolerance: the largest absolute difference between numbers that is allowed.
        share: of a tensor's values that may differ by more.

    Returns:
        A clause such as "the shape is (1, 4), expected (2, 4)"; None if there is none.
    """
    if isinstance(expected, np.ndarray):  # the copies spare a warning about read-only arrays
        expected = torch.from_numpy(expected.copy())
    if isinstance(expected, np.generic):
        expected = expected.item()
    if isinstance(actual, np.ndarray):
        actual = torch.from_numpy(actual.copy())
    if isinstance(expected, torch.Tensor):
        return _difference_of_tensors(actual, expected, tolerance, share)
    wanted = _parts(expected)
    if wanted is not None:
        given = _parts(actual)
        if given is None or given.keys() != wanted.keys():
            return f"the result is {_short(actual)}, expected {_short(expected)}"
        found = (
            describe_difference(given[place], part, tolerance, share)
            for place, part in wanted.items()
        )
        return next((difference for difference in found if difference), None)
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return _difference_of_numbers(actual, expected, tolerance)
    if isinstance(expected, str | bool) and actual != expected:
        return f"the result is {_short(actual)}, expected {_short(expected)}"
    return None


def _difference_of_numbers(actual: object, expected: float, tolerance: float) -> str | None:
    """Compare one number, which may come as a tensor of one value."""
    if isinstance(actual, torch.Tensor | np.ndarray | np.generic) and _count_values(actual) == 1:
        actual = actual.item()
    is_number = isinstance(actual, int | float) and not isinstance(actual, bool)
    if is_number and abs(actual - expected) <= tolerance:
        return None
    return f"the result is {_short(actual)}, expected {_short(expected)}"


def _difference_of_tensors(
    actual: object, expected: torch.Tensor, tolerance: float, share: float
) -> str | None:
    """Compare shape, then values; NaN equals nothing."""
    if not isinstance(actual, torch.Tensor):
        return f"the result is a {type(actual).__name__}, expected a tensor"
    if actual.shape != expected.shape:
        return f"the shape is {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    distances = (actual.detach().cpu().double() - expected.detach().cpu().double()).abs()
    wrong = ~(distances <= tolerance)
    wrong_share = wrong.double().mean().item() if wrong.numel() else 0.0
    if wrong_share <= share:
        return None
    place = tuple(wrong.nonzero()[0].tolist())
    where = f"at {list(place)} " if place else ""
    return (
        f"the value {where}is {_short(actual[place].item())}, expected "
        f"{_short(expected[place].item())} ({wrong_share:.0%} of the values differ)"
    )


def _hint_at(
    actual: object,
    arguments: tuple,
    mistakes: Sequence[Mistake],
    tolerance: float,
    share: float,
) -> None:
    """Print the hint of the first mistake that gives the same result."""
    for mistake in mistakes:
        with torch.no_grad():
            wrong = mistake.function(*_copies(arguments))
        if describe_difference(actual, wrong, tolerance, share) is None:
            _say("hint", mistake.hint)
            return


def _copies(arguments: tuple) -> tuple:
    """Copy arguments, all but modules, which are large and not changed by calling them."""
    return tuple(map(_copied, arguments))


def _copied(argument: object) -> object:
    """Copy one argument."""
    if isinstance(argument, torch.nn.Module):
        return argument
    if isinstance(argument, torch.Tensor):
        return argument.detach().clone()
    return copy.deepcopy(argument)


def _is_empty(result: object) -> bool:
    """Tell whether a result is what an empty stub returns."""
    return result is ... or result is None


def _parts(result: object) -> dict[tuple, object] | None:
    """Give what a container holds, by its place: a key or an index; None if it is no container."""
    if isinstance(result, dict):
        return {("key", key): part for key, part in result.items()}
    if isinstance(result, list | tuple):
        return {("index", index): part for index, part in enumerate(result)}
    return None


def _is_comparable(result: object) -> bool:
    """Tell whether all of a result can be compared."""
    parts = _parts(result)
    if parts is not None:
        return all(map(_is_comparable, parts.values()))
    is_complex = isinstance(result, np.complexfloating)
    return isinstance(result, _COMPARABLE) and not is_complex


def _count_values(result: object) -> int:
    """Count the numbers in a result."""
    if isinstance(result, torch.Tensor | np.ndarray | np.generic):
        return int(np.prod(result.shape))
    parts = _parts(result)
    return 1 if parts is None else sum(map(_count_values, parts.values()))


def _short(value: object) -> str:
    """Write a value in at most about a line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return textwrap.shorten(repr(value), 70)


def _say(verdict: str, reason: str) -> None:
    """Print a verdict, wrapped."""
    print(textwrap.fill(f"{verdict}: {reason}", _WIDTH, subsequent_indent="  "))

"""What the tests of all checkers share."""

from collections.abc import Callable

import pytest


@pytest.fixture
def verdict(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Give a function that calls a checker and returns what it prints, on one line."""

    def listen(check: Callable, *arguments: object) -> str:
        check(*arguments)
        return " ".join(capsys.readouterr().out.split())

    return listen

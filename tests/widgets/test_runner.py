"""The background runner: plain Python, timed by gates and not by the clock."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sdhelpers.widgets.threads import Runner

PATIENCE = 20.0  # seconds: the most that a test waits for what should take none

# A program that ends while a run of a minute is at work.
LEAVE_EARLY = """
import time
from sdhelpers.widgets.threads import Runner
def walk(request):
    for index in range(3000):
        time.sleep(0.02)
        yield index
Runner(walk, lambda item: None, print).submit(0)
print("main is done")
"""


class Gated:
    """Requests (name, count) give items (name, index), each only when it is let through."""

    def __init__(self) -> None:
        self.items: list[tuple[str, int]] = []
        self.errors: list[str] = []
        self.begun: list[str] = []
        self.closed: list[str] = []
        self.threads: set[int] = set()
        self._gate = threading.Semaphore(0)
        self._arrived = threading.Semaphore(0)
        self.runner = Runner(self._walk, self.items.append, lambda error: self.errors.append(error))

    def _walk(self, request: tuple[str, int]) -> Iterator[tuple[str, int]]:
        name, count = request
        self.begun.append(name)
        self.threads.add(threading.get_ident())
        try:
            for index in range(count):
                self._arrived.release()
                assert self._gate.acquire(timeout=PATIENCE)
                yield name, index
        finally:
            self.closed.append(name)

    def let_through(self, count: int) -> None:
        self._gate.release(count)

    def wait_for_arrival(self) -> None:
        """Wait until the walk stands before its next gate."""
        assert self._arrived.acquire(timeout=PATIENCE)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


@pytest.fixture
def gated() -> Iterator[Gated]:
    before = set(threading.enumerate())
    gated = Gated()
    yield gated
    gated.let_through(1000)
    assert gated.runner.close(PATIENCE)
    assert set(threading.enumerate()) <= before


def test_items_come_in_order_in_one_other_thread(gated: Gated) -> None:
    gated.let_through(3)
    gated.runner.submit(("a", 3))
    assert gated.runner.wait(PATIENCE)
    assert gated.items == [("a", 0), ("a", 1), ("a", 2)]
    assert not gated.runner.is_busy
    assert threading.get_ident() not in gated.threads
    assert len(gated.threads) == 1


def test_an_idle_runner_owns_no_thread(gated: Gated) -> None:
    before = threading.active_count()
    runner = gated.runner
    assert runner.wait(0)
    assert threading.active_count() == before
    runner.submit(("a", 1))
    assert runner.is_busy
    assert not runner.wait(0.01), "it stands at the gate"
    assert threading.active_count() == before + 1
    gated.let_through(1)
    assert runner.wait(PATIENCE)
    assert threading.active_count() == before


def test_the_newest_of_ten_wins(gated: Gated) -> None:
    gated.runner.submit(("first", 5))
    gated.wait_for_arrival()
    gated.let_through(1)
    gated.wait_for_arrival()
    for number in range(10):
        gated.runner.submit((str(number), 2))
    gated.let_through(100)
    assert gated.runner.wait(PATIENCE)
    assert gated.begun == ["first", "9"], "those between were never begun"
    assert gated.items == [("first", 0), ("9", 0), ("9", 1)]
    assert gated.closed == ["first", "9"]


def test_equal_requests_are_two(gated: Gated) -> None:
    gated.runner.submit(("a", 2))
    gated.wait_for_arrival()
    gated.runner.submit(("a", 2))
    gated.let_through(100)
    assert gated.runner.wait(PATIENCE)
    assert gated.items == [("a", 0), ("a", 1)]
    assert gated.begun == ["a", "a"]


def test_stop_ends_the_run_at_its_next_item(gated: Gated) -> None:
    gated.runner.submit(("a", 50))
    gated.wait_for_arrival()
    gated.let_through(1)
    gated.wait_for_arrival()
    assert gated.runner.stop()
    assert not gated.runner.is_busy
    gated.let_through(1)
    assert gated.runner.wait(PATIENCE)
    assert gated.items == [("a", 0)]
    assert gated.closed == ["a"]
    assert not gated.runner.stop(), "there is nothing to stop"
    gated.let_through(2)
    gated.runner.submit(("b", 2))
    assert gated.runner.wait(PATIENCE)
    assert gated.items[1:] == [("b", 0), ("b", 1)]


def test_stop_forgets_what_waits(gated: Gated) -> None:
    gated.runner.submit(("a", 2))
    gated.wait_for_arrival()
    gated.runner.submit(("b", 2))
    assert gated.runner.stop()
    gated.let_through(10)
    assert gated.runner.wait(PATIENCE)
    assert gated.begun == ["a"]
    assert gated.items == []


def test_stop_waits_for_a_callback_and_nothing_comes_after_it() -> None:
    is_inside, may_leave, shown = threading.Event(), threading.Event(), []

    def show(item: int) -> None:
        is_inside.set()
        may_leave.wait(PATIENCE)
        shown.append(item)

    runner = Runner(lambda request: range(request), show, shown.append)
    runner.submit(3)
    assert is_inside.wait(PATIENCE)
    threading.Timer(0.05, may_leave.set).start()
    assert runner.stop()
    assert shown == [0], "stop came back only when the callback was through"
    assert runner.wait(PATIENCE)
    assert shown == [0]


@pytest.mark.parametrize("where", ["walk", "item", "callback"])
def test_an_error_is_handed_over_and_the_next_request_works(where: str) -> None:
    shown, errors = [], []

    def walk(request: str) -> Iterator[str]:
        if request == "walk":
            raise ValueError("in walk")
        return items(request)

    def items(request: str) -> Iterator[str]:
        yield "one"
        if request == "item":
            raise ValueError("in item")
        yield "two"

    def show(item: str) -> None:
        if bad and item == "two":
            raise ValueError("in callback")
        shown.append(item)

    bad = where == "callback"
    runner = Runner(walk, show, errors.append)
    runner.submit(where)
    assert runner.wait(PATIENCE)
    assert [str(error) for error in errors] == [f"in {where}"]
    assert shown == ([] if where == "walk" else ["one"])
    assert not runner.is_busy
    bad = False
    runner.submit("fine")
    assert runner.wait(PATIENCE)
    assert shown[-2:] == ["one", "two"]
    assert len(errors) == 1


def test_the_error_of_a_replaced_run_is_not_shown() -> None:
    errors, shown = [], []
    is_begun, may_fail = threading.Event(), threading.Event()

    def walk(request: str) -> Iterator[str]:
        if request == "bad":
            is_begun.set()
            may_fail.wait(PATIENCE)
            raise ValueError("too late")
        yield request

    runner = Runner(walk, shown.append, errors.append)
    runner.submit("bad")
    assert is_begun.wait(PATIENCE)
    runner.submit("good")
    may_fail.set()
    assert runner.wait(PATIENCE)
    assert (shown, errors) == (["good"], [])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failing_error_callback_does_not_block_the_next_request() -> None:
    shown = []

    def fail(error: Exception) -> None:
        raise RuntimeError("the page is gone")

    def walk(request: int) -> list[float]:
        return [1 / request]

    runner = Runner(walk, shown.append, fail)
    runner.submit(0)
    assert runner.wait(PATIENCE)
    runner.submit(4)
    assert runner.wait(PATIENCE)
    assert shown == [0.25]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_request_made_during_a_failing_error_callback_is_served() -> None:
    is_inside, may_fail, shown = threading.Event(), threading.Event(), []

    def fail(error: Exception) -> None:
        is_inside.set()
        may_fail.wait(PATIENCE)
        raise RuntimeError("the page is gone")

    runner = Runner(lambda request: [1 / request], shown.append, fail)
    runner.submit(0)
    assert is_inside.wait(PATIENCE)
    threading.Timer(0.05, may_fail.set).start()
    runner.submit(4)  # waits for the callback
    assert runner.wait(PATIENCE)
    assert shown == [0.25]
    assert not runner.is_busy


def test_callbacks_may_submit_stop_and_ask() -> None:
    shown, waited = [], []

    def show(item: int) -> None:
        shown.append(item)
        waited.append(runner.wait(1.0))
        if item == 2:
            runner.submit(range(10, 12))
        if item == 11:
            runner.stop()

    runner = Runner(iter, show, shown.append)
    runner.submit(range(100))
    wait_until(lambda: not runner.is_busy)
    assert runner.wait(PATIENCE)
    assert shown == [0, 1, 2, 10, 11]
    assert set(waited) == {False}, "a callback can't wait for its own thread"


def test_a_closed_runner_takes_nothing() -> None:
    runner = Runner(iter, print, print)
    assert runner.close()
    assert runner.close(), "twice is once"
    with pytest.raises(RuntimeError, match="closed"):
        runner.submit([1])


def test_close_ends_a_run_and_its_thread(gated: Gated) -> None:
    gated.runner.submit(("a", 50))
    gated.wait_for_arrival()
    assert not gated.runner.close(0.01), "it stands at the gate"
    gated.let_through(1)
    assert gated.runner.wait(PATIENCE)
    assert gated.items == []


def test_a_thousand_quick_requests_keep_to_one_thread() -> None:
    shown, most = [], 0
    before = threading.active_count()
    runner = Runner(lambda request: [request], shown.append, shown.append)
    for number in range(1000):
        runner.submit(number)
        most = max(most, threading.active_count() - before)
    assert runner.wait(PATIENCE)
    assert shown[-1] == 999
    assert shown == sorted(set(shown)), "in order, none twice"
    assert most <= 2, "the worker, and for a moment the one that just ended"


def test_a_program_ends_although_a_run_is_at_work() -> None:
    begun = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", LEAVE_EARLY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "main is done\n", "")
    assert time.monotonic() - begun < 30

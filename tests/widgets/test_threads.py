"""The background runner, timed by gates and not by the clock; and teams that are handed back."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from sdhelpers.widgets.threads import (
    Runner,
    _find_pause,
    release_after_cells,
    release_cpu_threads,
)

PATIENCE = 60.0  # seconds: the most that a test waits for what should take none

# A program that ends while a run of a minute is at work.
LEAVE_EARLY = """
import time
from sdhelpers.widgets.threads import Runner
def make_items(request):
    for index in range(3000):
        time.sleep(0.02)
        yield index
Runner(make_items, lambda item: None, print).submit(0)
print("main is done")
"""

# In a process of its own: the number of threads is fixed when OpenMP starts.
COUNT_THREADS = """
import os
import torch
from sdhelpers.widgets.threads import release_cpu_threads

def count():
    return len(os.listdir("/proc/self/task"))

before = count()
pixel_values = torch.arange(2.0 * 8 * 256 * 256).reshape(2, 8, 256, 256) / 1e6
kernel = torch.linspace(-1, 1, 8 * 8 * 9).reshape(8, 8, 3, 3)
first = torch.nn.functional.conv2d(pixel_values, kernel)
computed = count()
is_released = release_cpu_threads()
after = count()
again = torch.nn.functional.conv2d(pixel_values, kernel)
print(before, computed, after, count(), is_released, torch.equal(first, again))
"""


class Gated:
    """Requests (name, count) give items (name, index), each only when it is let through."""

    def __init__(self) -> None:
        self.items: list[tuple[str, int]] = []
        self.begun: list[str] = []
        self.closed: list[str] = []
        self.threads: set[int] = set()
        self._gate = threading.Semaphore(0)
        self._arrived = threading.Semaphore(0)
        self.runner = Runner(self._make_items, self.items.append, self.items.append)

    def _make_items(self, request: tuple[str, int]) -> Iterator[tuple[str, int]]:
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

    def finish(self) -> None:
        """Let everything through, and wait until the thread has ended."""
        self.let_through(100)
        assert self.runner.wait(PATIENCE)
        assert not self.runner.is_busy

    def wait_for_arrival(self) -> None:
        """Wait until the work stands before its next gate."""
        assert self._arrived.acquire(timeout=PATIENCE)


@pytest.fixture
def gated() -> Iterator[Gated]:
    before = set(threading.enumerate())
    gated = Gated()
    yield gated
    gated.let_through(1000)
    assert gated.runner.close(PATIENCE)
    assert set(threading.enumerate()) <= before


def test_items_come_in_order_in_a_thread_that_ends(gated: Gated) -> None:
    before = threading.active_count()
    assert gated.runner.wait(0)
    assert threading.active_count() == before, "an idle runner owns no thread"
    gated.runner.submit(("a", 3))
    assert gated.runner.is_busy
    assert not gated.runner.wait(0.01), "it stands at the gate"
    assert threading.active_count() == before + 1
    gated.finish()
    assert gated.items == [("a", 0), ("a", 1), ("a", 2)]
    assert threading.active_count() == before
    assert threading.get_ident() not in gated.threads
    assert len(gated.threads) == 1


def test_the_newest_of_ten_wins(gated: Gated) -> None:
    gated.runner.submit(("first", 5))
    gated.wait_for_arrival()
    gated.let_through(1)
    gated.wait_for_arrival()
    for number in range(10):
        gated.runner.submit((str(number), 2))
    gated.runner.submit(("first", 5))  # equal requests are two
    gated.finish()
    assert gated.begun == gated.closed == ["first", "first"], "those between were never begun"
    assert gated.items == [("first", index) for index in (0, 0, 1, 2, 3, 4)]


def test_stop_ends_the_run_at_its_next_item(gated: Gated) -> None:
    gated.runner.submit(("a", 50))
    gated.wait_for_arrival()
    gated.let_through(1)
    gated.wait_for_arrival()
    gated.runner.submit(("waits", 50))
    assert gated.runner.stop()
    assert not gated.runner.is_busy
    gated.finish()
    assert gated.items == [("a", 0)]
    assert gated.begun == gated.closed == ["a"], "what waited is forgotten"
    assert not gated.runner.stop(), "there is nothing to stop"
    gated.runner.submit(("b", 2))
    gated.finish()
    assert gated.items[1:] == [("b", 0), ("b", 1)]


def test_stop_waits_for_a_callback_and_nothing_comes_after_it() -> None:
    is_inside, may_leave, shown = threading.Event(), threading.Event(), []

    def show(item: int) -> None:
        is_inside.set()
        may_leave.wait(PATIENCE)
        shown.append(item)

    runner = Runner(range, show, shown.append)
    runner.submit(3)
    assert is_inside.wait(PATIENCE)
    threading.Timer(0.05, may_leave.set).start()
    assert runner.stop()
    assert shown == [0], "stop came back only when the callback was through"
    assert runner.wait(PATIENCE)
    assert shown == [0]


@pytest.mark.parametrize("where", ["start", "item", "callback"])
def test_an_error_is_handed_over_and_the_next_request_works(where: str) -> None:
    shown, errors = [], []

    def make_items(request: str) -> Iterator[str]:
        if request == "start":
            raise ValueError("in start")
        return give_items(request)

    def give_items(request: str) -> Iterator[str]:
        yield "one"
        if request == "item":
            raise ValueError("in item")
        yield "callback" if request == "callback" else "two"

    def show(item: str) -> None:
        if item == "callback":
            raise ValueError("in callback")
        shown.append(item)

    runner = Runner(make_items, show, errors.append)
    runner.submit(where)
    assert runner.wait(PATIENCE)
    assert [str(error) for error in errors] == [f"in {where}"]
    assert shown == ([] if where == "start" else ["one"])
    assert not runner.is_busy
    runner.submit("fine")
    assert runner.wait(PATIENCE)
    assert shown[-2:] == ["one", "two"]
    assert len(errors) == 1


def test_the_error_of_a_replaced_run_is_not_shown() -> None:
    errors, shown = [], []
    is_begun, may_fail = threading.Event(), threading.Event()

    def make_items(request: str) -> Iterator[str]:
        if request == "bad":
            is_begun.set()
            may_fail.wait(PATIENCE)
            raise ValueError("too late")
        yield request

    runner = Runner(make_items, shown.append, errors.append)
    runner.submit("bad")
    assert is_begun.wait(PATIENCE)
    runner.submit("good")
    may_fail.set()
    assert runner.wait(PATIENCE)
    assert (shown, errors) == (["good"], [])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("is_early", [True, False])
def test_a_failing_error_callback_does_not_block_the_next_request(is_early: bool) -> None:
    is_inside, may_fail, shown = threading.Event(), threading.Event(), []

    def fail(error: Exception) -> None:
        is_inside.set()
        may_fail.wait(PATIENCE)
        raise RuntimeError("the page is gone")

    runner = Runner(lambda request: [1 / request], shown.append, fail)
    runner.submit(0)
    assert is_inside.wait(PATIENCE)
    if is_early:  # submit waits for the callback
        threading.Timer(0.05, may_fail.set).start()
    else:
        may_fail.set()
        assert runner.wait(PATIENCE)
    runner.submit(4)
    assert runner.wait(PATIENCE)
    assert shown == [0.25]
    assert not runner.is_busy


def test_callbacks_may_submit_stop_and_ask() -> None:
    shown, waited = [], []
    is_done = threading.Event()

    def show(item: int) -> None:
        shown.append(item)
        waited.append(runner.wait(1.0))
        if item == 2:
            runner.submit(range(10, 12))
        if item == 11:
            runner.stop()
            is_done.set()

    runner = Runner(iter, show, shown.append)
    runner.submit(range(100))
    assert is_done.wait(PATIENCE)
    assert runner.wait(PATIENCE)
    assert shown == [0, 1, 2, 10, 11]
    assert set(waited) == {False}, "a callback can't wait for its own thread"


def test_close_ends_a_run_and_its_thread(gated: Gated) -> None:
    gated.runner.submit(("a", 50))
    gated.wait_for_arrival()
    assert not gated.runner.close(0.01), "it stands at the gate"
    gated.finish()
    assert gated.items == []
    assert gated.runner.close(), "twice is once"
    with pytest.raises(RuntimeError, match="closed"):
        gated.runner.submit(("b", 1))


def test_a_thousand_quick_requests_of_two_threads() -> None:
    shown, crowds = [], []
    at_work = set()

    def make_items(request: tuple[str, int]) -> Iterator[tuple[str, int]]:
        at_work.add(request)
        crowds.append(len(at_work))
        try:
            yield request
        finally:
            at_work.remove(request)

    def submit_often(name: str) -> None:
        for number in range(500):
            runner.submit((name, number))

    runner = Runner(make_items, shown.append, shown.append)
    threads = [threading.Thread(target=submit_often, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert runner.wait(PATIENCE)
    assert set(crowds) == {1}, "one at a time"
    assert shown[-1] in [("a", 499), ("b", 499)], "the newest of all"
    for name in "ab":
        numbers = [number for one, number in shown if one == name]
        assert numbers == sorted(set(numbers)), "in order, none twice"


def test_a_program_ends_although_a_run_is_at_work() -> None:
    begun = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", LEAVE_EARLY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "main is done\n", "")
    assert time.monotonic() - begun < 50, "it waited for the run of a minute"


@pytest.fixture
def needs_gnu_openmp() -> None:
    """Skip where torch brings another library."""
    if _find_pause(torch.__file__) is None:
        pytest.skip("torch doesn't carry GNU OpenMP here")


def test_a_team_is_handed_back_and_comes_again(needs_gnu_openmp: None) -> None:
    output = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS],
        env={"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    before, computed, after, again, is_released, is_equal = output.split()
    assert int(computed) > int(before), "the convolution started no thread: this shows nothing"
    assert int(after) < int(computed)
    assert int(again) == int(computed)
    assert is_released == is_equal == "True"


def test_it_may_be_called_with_nothing_to_release(
    needs_gnu_openmp: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert release_cpu_threads()
    assert release_cpu_threads()
    monkeypatch.setattr("sdhelpers.widgets.threads._find_pause", lambda torch_file: None)
    assert not release_cpu_threads(), "without GNU OpenMP nothing happens"


def test_a_notebook_releases_after_each_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    released = []
    monkeypatch.setattr("sdhelpers.widgets.threads.release_cpu_threads", lambda: released.append(1))
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    release_after_cells()  # outside a notebook: nothing to register with
    shell.run_cell("1 + 1", silent=False, store_history=False)
    assert released == []
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    release_after_cells()
    release_after_cells()
    shell.run_cell("1 + 1", silent=False, store_history=False)
    assert released == [1]

"""Threads of live controls: one that works in the background, and the teams that compute for it.

`Runner` takes slow work off the kernel's thread, and does only the newest of it. OpenMP gives every
thread that computes a team of its own, which waits on the CPU's cores after its work; so a thread
that is through hands its team back.
"""

import ctypes
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

_PAUSE_HARD = 2  # omp_pause_hard, in OpenMP 5.0's list of omp_pause_resource_t


class Runner:
    """Go through one iterable at a time in a thread of its own; the newest request wins.

    Once `submit` or `stop` has returned, nothing more of an earlier request is handed over: both
    wait for a callback that is at work, never for the work itself, which ends at its next item.
    """

    def __init__(
        self,
        make_items: Callable[[Any], Iterable],
        on_item: Callable[[Any], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Set up, without starting anything.

        Args:
            make_items: makes the iterable for a request, such as a generator. It is called, gone
                through and closed in the worker thread.
            on_item: called in the worker thread with each item, in order.
            on_error: called in the worker thread with what `make_items`, its iterable or `on_item`
                raised; the runner then takes new requests as before.
        """
        self._make_items, self._on_item, self._on_error = make_items, on_item, on_error
        # Two locks: the state's, held for a moment, and one held by each callback. So a wish is
        # noted at once, and then waits for one callback at most, however fast items come.
        self._lock = threading.Lock()
        self._callback_lock = threading.RLock()  # reentrant: a callback may submit or stop
        self._thread: threading.Thread | None = None
        self._is_working = False
        self._is_closed = False
        # A request travels in a list of its own: two equal requests are still two.
        self._waiting: list | None = None
        self._wanted: list | None = None

    @property
    def is_busy(self) -> bool:
        """Tell whether something of the newest request is still to come."""
        return self._wanted is not None

    def submit(self, request: object) -> None:
        """Work on this next, and on nothing asked for before.

        Args:
            request: for `make_items`.

        Raises:
            RuntimeError: if the runner is closed.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("This runner is closed: make a new one.")
            if not self._is_working:
                self._thread = threading.Thread(target=self._work, name="sdhelpers-runner")
                self._thread.start()  # it waits for the lock
                self._is_working = True
            self._waiting = self._wanted = [request]
        self._wait_for_callback()

    def stop(self) -> bool:
        """Let the work end at its next item, and forget what waits.

        Returns:
            True if there was something to stop.
        """
        with self._lock:
            was_busy = self.is_busy
            self._waiting = self._wanted = None
        self._wait_for_callback()
        return was_busy

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is at work and the thread has ended.

        Args:
            timeout: seconds, at most.

        Returns:
            True if that is so; False if time was up, or if a callback asks, for the thread can't
            wait for itself.
        """
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return thread is None
        thread.join(timeout)
        return not thread.is_alive()

    def close(self, timeout: float = 60.0) -> bool:
        """Stop, take no more requests, and wait for the thread to end.

        Args:
            timeout: seconds, at most.

        Returns:
            True if no thread is left.
        """
        with self._lock:
            self._is_closed = True
        self.stop()
        return self.wait(timeout)

    def _wait_for_callback(self) -> None:
        """Wait until no callback is at work; the next one will see the state as it is now."""
        with self._callback_lock:
            pass

    def _work(self) -> None:
        """Serve requests until none waits: what the thread does."""
        try:
            while (wanted := self._take()) is not None:
                try:
                    self._serve(wanted)
                except Exception as error:
                    with self._callback_lock:
                        if self._finish(wanted):
                            self._report(error)
        except BaseException:  # such as SystemExit in a callback: the next gets a new thread
            with self._lock:
                self._is_working = False
            raise

    def _report(self, error: Exception) -> None:
        """Hand an error over; if that fails, too, say so as threads do, and go on."""
        try:
            self._on_error(error)
        except Exception:
            threading.excepthook(
                threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
            )

    def _take(self) -> list | None:
        """Give the request that waits; None, and the thread is about to end."""
        with self._lock:
            wanted, self._waiting = self._waiting, None
            self._is_working = wanted is not None
            return wanted

    def _serve(self, wanted: list) -> None:
        """Hand over the items of one request while they are wanted."""
        items = self._make_items(*wanted)
        with closing(items) if hasattr(items, "close") else nullcontext():
            for item in items:
                with self._callback_lock:
                    if self._wanted is not wanted or not _is_interpreter_alive():
                        return
                    self._on_item(item)
        self._finish(wanted)

    def _finish(self, wanted: list) -> bool:
        """Mark a request as done; False if another has taken its place already."""
        with self._lock:
            is_wanted = self._wanted is wanted
            if is_wanted:
                self._wanted = None
            return is_wanted


def _is_interpreter_alive() -> bool:
    """Tell whether the program is still running; at its end it waits for our thread."""
    return threading.main_thread().is_alive()


def release_cpu_threads() -> bool:
    """Hand back the threads that wait to help the calling thread; results don't change.

    Returns:
        True if OpenMP did so, or had nothing to hand back; False where torch doesn't carry GNU
        OpenMP (macOS, Windows, conda), which needs none of this.
    """
    torch = sys.modules.get("torch")  # unless it was imported, there is nothing to hand back
    pause = _find_pause(torch.__file__) if torch else None
    return pause is not None and pause(_PAUSE_HARD) == 0


def release_after_cells() -> None:
    """Let a notebook's own thread hand its team back after each cell, from now on.

    Without it the team of the cells that ran last would slow down every control that works in
    another thread. Outside a notebook this does nothing.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.events.register("post_run_cell", _release_after_cell)  # once, however often asked


def _release_after_cell(result: object) -> None:
    """Hand the team back, whatever came of the cell."""
    release_cpu_threads()


@cache
def _find_pause(torch_file: str) -> Callable[[int], int] | None:
    """Give OpenMP's `omp_pause_resource_all`, from the very library that torch computes with."""
    libraries = sorted((Path(torch_file).parent / "lib").glob("libgomp*.so*"))
    if not libraries:
        return None
    return getattr(ctypes.CDLL(str(libraries[0])), "omp_pause_resource_all", None)

"""Do slow work in the background, and only the newest: plain Python, no widgets.

A live control asks for much more work than anybody wants to see the end of: each move of a slider
makes the run before it worthless. So there is one worker thread, one request at work and at most
one waiting; a newer one replaces both. The thread starts with the first request and ends with the
last one's work, so that an idle runner, or a forgotten one, owns no thread.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from typing import Any


class Runner:
    """Walk through one iterable at a time in a thread of its own; the newest request wins.

    Once `submit` or `stop` has returned, nothing more of an earlier request is handed over: both
    wait for a callback that is at work, never for the work itself, which ends at its next item.
    """

    def __init__(
        self,
        walk: Callable[[Any], Iterable],
        on_item: Callable[[Any], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Set up, without starting anything.

        Args:
            walk: makes the iterable for a request, such as a generator. It is called, walked
                through and closed in the worker thread.
            on_item: called in the worker thread with each item, in order.
            on_error: called in the worker thread with what walking or `on_item` raised; the
                runner then takes new requests as before.
        """
        self._walk, self._on_item, self._on_error = walk, on_item, on_error
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
            request: for `walk`.

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
        items = self._walk(*wanted)
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

"""One team of CPU threads at a time: networks stay fast in the thread that a live control starts.

GNU OpenMP, which torch's wheels for Linux carry, keeps a team of waiting threads for every thread
that has computed something. As soon as the teams together have more threads than there are cores,
each of them falls asleep after every small piece of work, instead of waiting a moment for the
next; a network of small layers then takes about twice as long. So a thread that has computed, and
now waits for the reader, hands its team back. It gets a new one with its next computation.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_PAUSE_HARD = 2  # omp_pause_hard, in OpenMP 5.0's list of omp_pause_resource_t


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
    """Do it: IPython gives what the cell gave, which doesn't matter here."""
    release_cpu_threads()


@cache
def _find_pause(torch_file: str) -> Callable[[int], int] | None:
    """Give OpenMP's `omp_pause_resource_all`, from the very library that torch computes with."""
    libraries = sorted((Path(torch_file).parent / "lib").glob("libgomp*.so*"))
    if not libraries:
        return None
    return getattr(ctypes.CDLL(str(libraries[0])), "omp_pause_resource_all", None)

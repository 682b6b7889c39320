"""Teams of CPU threads are handed back, and nothing else changes."""

import subprocess
import sys

import pytest
import torch

from sdhelpers.widgets.threads import _find_pause, release_after_cells, release_cpu_threads

# In a process of its own: the number of threads is fixed when OpenMP starts.
_COUNT = """
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


@pytest.fixture
def needs_gnu_openmp() -> None:
    """Skip where torch brings another library."""
    if _find_pause(torch.__file__) is None:
        pytest.skip("torch doesn't carry GNU OpenMP here")


def test_a_team_is_handed_back_and_comes_again(needs_gnu_openmp: None) -> None:
    output = subprocess.run(
        [sys.executable, "-c", _COUNT],
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


def test_it_may_be_called_with_nothing_to_release(needs_gnu_openmp: None) -> None:
    assert release_cpu_threads()
    assert release_cpu_threads()


def test_without_gnu_openmp_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdhelpers.widgets.threads._find_pause", lambda torch_file: None)
    assert not release_cpu_threads()


def test_a_notebook_releases_after_each_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    released = []
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr("sdhelpers.widgets.threads.release_cpu_threads", lambda: released.append(1))
    release_after_cells()
    release_after_cells()
    shell.run_cell("1 + 1", silent=False, store_history=False)
    assert released == [1]


def test_outside_a_notebook_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    release_after_cells()
    assert torch.tensor(1) == 1

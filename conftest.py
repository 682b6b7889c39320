"""Set up the tests: offline, on the CPU, and notebooks compared with a tolerance for decimals."""

import os
from pathlib import Path

# Before anything that reads them is imported. Notebook kernels inherit them all: no network; the
# same arithmetic everywhere; warnings from our own modules as errors; and threads that, while they
# wait for each other, soon stop spinning: on a busy machine spinning costs tenfold.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SDHELPERS_DEVICE"] = "cpu"
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes with a thread each do more than one with two: the networks are small.
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PYTHONWARNINGS"] = ",".join(
    # A package's own module goes by the package's name.
    "error:::" + ".".join(path.parts).removesuffix(".__init__")
    for path in (
        module.relative_to(Path(__file__).parent).with_suffix("")
        for module in Path(__file__).parent.glob("sdhelpers/**/*.py")
    )
)

import pytest

from tests.notebooks.nbval_tolerance import compare_with_tolerance


def pytest_configure(config: pytest.Config) -> None:
    compare_with_tolerance()


def pytest_collectstart(collector: pytest.Collector) -> None:
    if hasattr(collector, "skip_compare"):
        # What is stored leaves out both: see tools/execute_notebooks.py.
        collector.skip_compare += ("stderr", "application/vnd.jupyter.widget-view+json")

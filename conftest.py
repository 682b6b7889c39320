"""Set up the tests: offline, on the CPU, and notebooks compared with a tolerance for decimals."""

import os
from pathlib import Path

# Before any import of the hub's client, which reads it once. Notebook kernels inherit all three:
# no network; the same arithmetic everywhere; warnings from our own modules as errors.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SDHELPERS_DEVICE"] = "cpu"
os.environ["PYTHONWARNINGS"] = ",".join(
    f"error:::sdhelpers.{path.stem}" for path in Path(__file__).parent.glob("sdhelpers/*.py")
)

import pytest

from tests.nbval_tolerance import compare_with_tolerance


def pytest_configure(config: pytest.Config) -> None:
    compare_with_tolerance()


def pytest_collectstart(collector: pytest.Collector) -> None:
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)

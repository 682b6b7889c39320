"""Set up the tests: offline, and notebooks compared with a tolerance for decimals."""

import os

# Before any import of the hub's client, which reads it once. Notebook kernels inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

from tests.nbval_tolerance import compare_with_tolerance


def pytest_configure(config: pytest.Config) -> None:
    compare_with_tolerance()


def pytest_collectstart(collector: pytest.Collector) -> None:
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)

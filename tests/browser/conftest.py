import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.pages import open_in_lab, run_all
from tests.browser.servers import serve_lab, serve_voila

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PLAYGROUND = "08_playground.ipynb"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
LIVE = """\
from PIL import Image

from sdhelpers.widgets import live_picture

live_picture(
    lambda level: (Image.new("RGB", (8, 8), (level, 0, 0)), f"red is {level}"),
    level=[0, 128, 255],
)"""


def pytest_collection_modifyitems(items: list) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies, so that nothing that a page does reaches the project's files."""
    root = tmp_path_factory.mktemp("notebooks")
    shutil.copy(NOTEBOOKS / PLAYGROUND, root)
    cell = {"cell_type": "code", "id": "live", "metadata": {}, "source": LIVE}
    notebook = {
        "cells": [cell | {"execution_count": None, "outputs": []}],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (root / "live.ipynb").write_text(json.dumps(notebook))
    return root


@pytest.fixture(scope="session")
def lab(browser, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_lab(root, tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture(scope="session")
def opened(browser, lab: str) -> Iterator:
    """The playground's notebook in JupyterLab, all cells run."""
    page = open_in_lab(browser, lab, PLAYGROUND)
    run_all(page)
    yield page
    page.close()


@pytest.fixture
def page(opened) -> Iterator:
    opened.set_viewport_size({"width": 1280, "height": 1000})
    yield opened
    assert opened.errors == []


@pytest.fixture(scope="session")
def voila(browser, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("voila", reason="voila is not installed")
    with serve_voila(root / PLAYGROUND, tmp_path_factory.mktemp("voila")) as address:
        yield address

"""Every notebook by one switch on a model of other sizes: shaped like Stable Diffusion v1."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.v1_shaped import make_v1_shaped

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# Latents of v1 are 64 wide. A third of that keeps the time down; no notebook may know either.
SAMPLE_SIZE = 24
CELL_TIMEOUT = 120  # seconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "v1-shaped"
    return make_v1_shaped(folder, SAMPLE_SIZE, has_variant=False)


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 10


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_another_model(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run unchanged, in memory; an error in a cell, or a slow one, fails here."""
    monkeypatch.setitem(os.environ, "SD_MODEL", str(folder))
    notebook = nbformat.read(path, as_version=4)
    stored = [str(cell.get("outputs")) for cell in notebook.cells]
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [str(cell.get("outputs")) for cell in notebook.cells] != stored, "the same model again"

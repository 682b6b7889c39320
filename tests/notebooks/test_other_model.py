"""Every notebook by one switch on a model of other sizes: shaped like Stable Diffusion v1."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from sdhelpers import SD_V1_4
from tests.model.local_hub import serve_hub
from tests.v1_shaped import make_v1_shaped

PATHS = {path.stem: path for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb")}
# Latents of v1 are 64 wide. A third of that keeps the time down; no notebook may know either.
SAMPLE_SIZE = 24
CELL_TIMEOUT = 120  # seconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "v1-shaped"
    return make_v1_shaped(folder, SAMPLE_SIZE, has_variant=False)


def test_there_are_notebooks() -> None:
    assert len(PATHS) == 10


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.thorough] if name > "02" else [])
        for name in sorted(PATHS)
    ],
)
def test_a_notebook_runs_on_another_model(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run unchanged, in memory; an error in a cell, or a slow one, fails here."""
    monkeypatch.setenv("SD_MODEL", str(folder))
    *outputs, (said,) = [cell.get("outputs", []) for cell in execute(PATHS[name]).cells]
    assert any("image/png" in one.get("data", {}) for output in outputs for one in output)
    assert said.text.strip() == str(folder), "the switch did nothing"


@pytest.mark.thorough
def test_the_vaes_notebook_fetches_no_unet(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a hub, in the environment that a reader would set."""
    with serve_hub({SD_V1_4: folder}) as hub:
        monkeypatch.setenv("SD_MODEL", SD_V1_4)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.delenv("HF_HUB_OFFLINE")
        notebook = execute(PATHS["01_vae"])
    said = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any(text.startswith(f"Fetching {SD_V1_4} (revision main), once:") for text in said)
    fetched = [request for request in hub.requests if request.endswith(".safetensors")]
    assert {request.split("/")[-2] for request in fetched} == {"vae"}


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in memory, and let it say at the end on which model."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("print(MODEL)"))
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return notebook

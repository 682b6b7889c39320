"""Run notebooks from top to bottom and store their outputs, clean: `make execute`.

What is left out of the stored file is what would differ from one machine or run to the next:
progress bars and warnings (stderr), widget state, timings. Figures are stored with 256 dithered
colours where that is smaller: hardly visible, and every version stays in the history.
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

from tools.palette import reduce_colours

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CELL_TIMEOUT = 300  # seconds
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def execute(path: Path) -> None:
    """Execute one notebook in place; an error in a cell leaves the file as it was."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,  # or one print may be stored as two, on a busy machine
    )
    client.execute()
    clean(notebook)
    nbformat.write(notebook, path)


def clean(notebook: nbformat.NotebookNode) -> None:
    """Keep kernelspec and language, outputs without stderr, and nothing else."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                # A live control without its kernel would be an error message; its picture stays.
                output.get("data", {}).pop(WIDGET_VIEW, None)
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = shrink(output.data["image/png"])


def shrink(encoded: str) -> str:
    """Give a base64 PNG in few colours, or the same one if that is not larger."""
    buffer = io.BytesIO()
    reduce_colours(Image.open(io.BytesIO(base64.b64decode(encoded)))).save(
        buffer, format="PNG", optimize=True
    )
    return min(base64.b64encode(buffer.getvalue()).decode(), encoded.replace("\n", ""), key=len)


def main(names: list[str]) -> None:
    """Execute the notebooks named, or all of them."""
    paths = [Path(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in paths:
        print(f"executing {path.name}", flush=True)
        execute(path)


if __name__ == "__main__":
    main(sys.argv[1:])

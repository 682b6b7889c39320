"""House rules over every notebook; thoroughly, every cell is run twice, and every solution."""

import base64
import io
import itertools
import re
import statistics
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.notebooks.nbval_tolerance import is_nearly_equal

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
LARGEST_FILE = 700_000  # bytes
LONGEST_CELL = 25  # lines
LONGEST_IMPORT_CELL = 12  # lines
IMPORTS = re.compile(r"\A(?:(?:import|from) .*\n+)+")
# A reader meets a dozen places: three faces, the loop's seven modules, and two packages with a
# module for a notebook.
PLACES = ("sdhelpers", "sdhelpers.show", "sdhelpers.widgets", "sdhelpers.lessons")
PLACES += ("sdhelpers.exercises", "sdhelpers.images", "sdhelpers.text", "sdhelpers.latents")
PLACES += ("sdhelpers.guidance", "sdhelpers.schedule", "sdhelpers.steps", "sdhelpers.sampling")
# In code: what a reader would copy and be sorry for. In stored text: what belongs to one machine.
FORBIDDEN_CODE = {
    r"0\.18215": "read vae.config.scaling_factor",
    r"\b77\b": "read tokenizer.model_max_length",
    r"torch\.manual_seed|np\.random\.seed": "make a generator of its own",
    r"\.cuda\(|device=\"cuda\"": "use pick_device()",
    r"unet\.in_channels": "read unet.config.in_channels",
    r"import \*": "name what is imported",
    r"\bplt\.|matplotlib": "draw with sdhelpers.show",
    r"^\s*#.*\bTODO\b": "finish it",
}
FORBIDDEN_TEXT = r"/home/|/Users/|/root/|/tmp/|/work/|[A-Z]:\\|Traceback|Warning:"

SOLUTION = r"<summary>Solution</summary>\s+```python\n(.+?)```\s+</details>"

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# The rooms of the map: what takes the pipeline apart, one part each.
ROOMS = [path for path in NOTEBOOKS if "01" <= path.name[:2] <= "07"]
every_room = pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.stem)

# The live controls of notebook 08, and what draws the same as a figure.
CONTROLS = {
    "playground": "show_playground",
    "trajectory_explorer": "show_trajectory",
    "guidance_mixer": "show_guidance_mix",
    "compare": "show_comparison",
}


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert cells
    return cells


def markdown(path: Path) -> str:
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert texts
    return "\n\n".join(texts)


def test_there_are_notebooks() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"0{number}" for number in range(10)]
    assert len(ROOMS) == 7


@every_notebook
def test_the_minutes_are_those_of_the_readmes_route(path: Path) -> None:
    readme = (path.parents[1] / "README.md").read_text(encoding="utf-8")
    route = re.findall(rf"\(notebooks/{re.escape(path.name)}\) \|.*\| (\d+) \|", readme)
    assert len(route) == 1
    assert re.findall(r"about (\d+) minutes", read(path).cells[0].source) == route


@every_notebook
def test_executed_in_order_and_whole(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@every_notebook
def test_clean_and_small(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert path.stat().st_size < LARGEST_FILE


@every_notebook
def test_cells_are_short_and_most_show_something(path: Path) -> None:
    cells = code_cells(path)
    assert max(len(cell.source.splitlines()) for cell in cells) <= LONGEST_CELL
    lengths = [len(IMPORTS.sub("", cell.source).splitlines()) for cell in cells]
    assert statistics.median(lengths) <= 8
    assert sum(bool(cell.outputs) for cell in cells) / len(cells) >= 0.6


@every_notebook
def test_prose_and_code_are_in_balance(path: Path) -> None:
    num_lines = sum(len(cell.source.splitlines()) for cell in code_cells(path))
    assert 5 <= len(markdown(path).split()) / num_lines <= 17


@every_notebook
def test_nothing_forbidden(path: Path) -> None:
    texts = [markdown(path)]
    for cell in code_cells(path):
        is_quoted = path.name.startswith("09") and cell.source.startswith("# 2022\n")
        for pattern, advice in () if is_quoted else FORBIDDEN_CODE.items():
            assert not re.search(pattern, cell.source, re.M), f"{pattern} in a cell: {advice}"
        texts.append(cell.source)
        for output in cell.outputs:
            texts.append(str(output.get("text", "")))
            data = output.get("data", {})
            texts += [str(value) for kind, value in data.items() if kind.startswith("text/")]
    for text in texts:
        assert not re.search(FORBIDDEN_TEXT, text), text


@every_notebook
def test_first_and_last_screen(path: Path) -> None:
    text = markdown(path)
    assert re.match(rf"# {path.name[:2]} - .+\?.*\n", text), "the title is a number and a question"
    for part in ("you will see", "you need", "## What we found", "## Where next"):
        assert part in text, f"{part!r} is missing"


@every_notebook
def test_imports_are_few_and_through_the_faces(path: Path) -> None:
    """The first cell imports what many cells use; what one cell alone needs stands at its top."""
    first, *others = code_cells(path)
    assert re.match("import|from", first.source)
    assert len(first.source.splitlines()) <= LONGEST_IMPORT_CELL
    assert not re.search(r"^(?!import|from|$)", first.source, re.M), "it does nothing else"
    for cell in others:
        rest = IMPORTS.sub("", cell.source)
        assert not re.search(r"^(import|from) ", rest, re.M), "imports stand at a cell's top"
    for cell in (first, *others):
        for module in re.findall(
            r"^from (sdhelpers\S*) import|^import sdhelpers", cell.source, re.M
        ):
            place = ".".join(module.split(".")[:2])
            is_package = place in ("sdhelpers.lessons", "sdhelpers.exercises")
            assert place in PLACES, f"readers import from {', '.join(PLACES)}; not from {module}"
            assert module == place or is_package, f"{place} carries what readers need"


def exercises(path: Path) -> list[tuple[str, str]]:
    """Give (stub, solution) of each exercise, both ending with the line that checks."""
    found = []
    cells = read(path).cells
    for text, stub in itertools.pairwise(cells):
        solution = re.search(SOLUTION, text.source, re.S)
        if text.cell_type == "markdown" and solution:
            assert stub.cell_type == "code"
            check = stub.source.splitlines()[-1]
            assert re.match(r"check_\w+\(", check), f"the exercise ends with a check: {check}"
            found.append((stub.source, f"{solution[1]}\n\n{check}"))
    return found


@every_room
def test_exercises_are_open_and_have_hint_and_solution(path: Path) -> None:
    found = exercises(path)
    assert 3 <= len(found) <= 6
    stubs = {stub for stub, _ in found}
    outputs = [cell.outputs for cell in code_cells(path) if cell.source in stubs]
    assert [output[0].text[:17] for output in outputs] == ["not attempted yet"] * len(found)
    assert markdown(path).count("<summary>Hint</summary>") == len(found)


@every_room
def test_rooms_have_a_map_a_control_a_proof_and_a_guess(path: Path) -> None:
    sources = "\n".join(cell.source for cell in code_cells(path))
    assert f'show_map("{path.name[:2]}"' in sources
    assert "live_picture(" in sources
    assert re.search(r"check_close\(|^assert ", sources, re.M)
    assert len(re.findall(r"before you run|guess", markdown(path), re.I)) >= 3


@pytest.mark.parametrize("control", CONTROLS)
def test_the_playground_has_each_control_beside_its_twin(control: str) -> None:
    """On a page that runs no widgets the next figure shows the same."""
    (path,) = [path for path in NOTEBOOKS if path.name.startswith("08")]
    cells = code_cells(path)
    (place,) = [
        index
        for index, cell in enumerate(cells)
        if re.search(rf"\b{control}\(", cell.source) and "import" not in cell.source
    ]
    shown = str(cells[place].outputs[-1]["data"]["text/plain"])
    assert shown.startswith("[live in a running notebook")
    assert f"{CONTROLS[control]}(" in cells[place + 1].source
    assert "image/png" in cells[place + 1].outputs[0]["data"]
    assert len(re.findall(r"before you run", markdown(path), re.I)) >= 3


@every_notebook
def test_links_exist(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", markdown(path))
    assert targets
    for target in targets:
        if not target.startswith(("https://", "attachment:")):
            assert (path.parent / target).exists(), f"{target} is linked, but is not there"


def test_the_rules_can_fail(tmp_path: Path) -> None:
    """A notebook that breaks them is caught: otherwise they would prove nothing."""
    bad = tmp_path / "99_bad.ipynb"
    cell = nbformat.v4.new_code_cell("import *\nlatents = latents / 0.18215", execution_count=2)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("x")]), bad)
    for rule in (
        test_executed_in_order_and_whole,
        test_clean_and_small,
        test_cells_are_short_and_most_show_something,
        test_prose_and_code_are_in_balance,
        test_nothing_forbidden,
        test_first_and_last_screen,
        test_imports_are_few_and_through_the_faces,
        test_links_exist,
    ):
        with pytest.raises(AssertionError):
            rule(bad)


@pytest.mark.parametrize(
    "source",
    [
        "scale = 0.18215",
        "room = 77",
        "torch.manual_seed(0)",
        "unet.cuda()",
        "unet.in_channels",
        "from os import *",
        "plt.show()",
        "# TODO",
        'open("/home/me/x")',
        'open("C:\\Users\\me")',
    ],
)
def test_each_forbidden_thing_is_caught(tmp_path: Path, source: str) -> None:
    cells = [nbformat.v4.new_markdown_cell("fine"), nbformat.v4.new_code_cell("good = 1")]
    path = tmp_path / "99.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    test_nothing_forbidden(path)
    cells[1].source = source
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    with pytest.raises(AssertionError):
        test_nothing_forbidden(path)


@pytest.mark.thorough
@every_notebook
def test_a_cell_run_twice_gives_the_same(path: Path) -> None:
    """Run each cell a second time at once: its texts and pictures must not change.

    At the end the same kernel runs the solutions of the exercises, which must be right.
    """
    notebook = read(path)
    notebook.cells = [
        cell for cell in notebook.cells for _ in range(1 + (cell.cell_type == "code"))
    ]
    solutions = exercises(path)
    notebook.cells += [nbformat.v4.new_code_cell(source) for _, source in solutions]
    notebook = nbformat.from_dict(notebook)
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"
    resources = {"metadata": {"path": str(path.parent)}}
    options = {"timeout": 300, "kernel_name": "python3", "coalesce_streams": True}
    NotebookClient(notebook, resources=resources, **options).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    solved = cells[len(cells) - len(solutions) :]
    cells = cells[: len(cells) - len(solutions)]
    assert [cell.outputs[0].text[:6] for cell in solved] == ["right:"] * len(solutions)
    assert len(cells) == 2 * len(code_cells(path))
    for first, second in zip(cells[::2], cells[1::2], strict=True):
        assert first.source == second.source
        for one, other in zip(shown(first), shown(second), strict=True):
            if isinstance(one, str):
                assert is_nearly_equal(one, other)
            else:
                assert np.abs(one - other).mean() < 1


def shown(cell: nbformat.NotebookNode) -> list[str | np.ndarray]:
    """Give what a cell shows: texts, and pictures as arrays of levels."""
    results = []
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
            results.append(np.asarray(picture.convert("RGB"), dtype=float))
        elif output.get("name") != "stderr":
            results.append(output.get("text", "") + data.get("text/plain", ""))
    return results

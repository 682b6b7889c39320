"""The tolerance hook must forgive rounding, and nothing else."""

import shutil
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.nbval_tolerance import TolerantText, is_nearly_equal

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0.1999", "0.2000"),
        ("std 1.000 max [-3.91, 4.02]", "std 0.999 max [-3.92, 4.02]"),
        ("1.000e-05", "1.001e-05"),
        ("latents  (1, 4, 16, 16)", "latents  (1, 4, 16, 16)"),
    ],
)
def test_rounding_is_forgiven(first: str, second: str) -> None:
    assert is_nearly_equal(first, second)
    assert TolerantText(first) == TolerantText(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0.20", "0.22"),
        ("1.0", "-1.0"),
        ("1e-05", "1e-04"),
        ("(1, 4, 16, 16)", "(1, 4, 16, 17)"),
        ("77 tokens", "76 tokens"),
        ("0.5 cats", "0.5 dogs"),
        ("0.5", "0.5 0.5"),
        ("2.0", "2"),
        ("nan", "0.5"),
    ],
)
def test_wrong_is_not_forgiven(first: str, second: str) -> None:
    assert not is_nearly_equal(first, second)
    assert TolerantText(first) != TolerantText(second)


def write_notebook(path, printed: str, stored: str) -> None:
    cell = nbformat.v4.new_code_cell(
        f"print({printed!r})",
        execution_count=1,
        outputs=[nbformat.v4.new_output("stream", name="stdout", text=f"{stored}\n")],
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)


@pytest.mark.thorough
def test_nbval_itself_fails_on_a_wrong_number(pytester: pytest.Pytester) -> None:
    """The project's own conftest.py installs the hook in a real nbval run, in a fresh process."""
    root = Path(__file__).parents[2]
    shutil.copy(root / "conftest.py", pytester.path)
    folder = Path("tests", "notebooks")
    (pytester.path / folder).mkdir(parents=True)
    shutil.copy(root / folder / "nbval_tolerance.py", pytester.path / folder)
    write_notebook(pytester.path / "right.ipynb", "std 0.1999", "std 0.2000")
    write_notebook(pytester.path / "wrong.ipynb", "std 0.1999", "std 0.3000")
    result = pytester.runpytest_subprocess(
        "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED wrong.ipynb*"])

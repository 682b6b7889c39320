"""The wheel, the environment files and the links: what a stranger gets."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 45e6  # bytes

PAINT_OUTSIDE = """
import sys
sys.path.insert(0, sys.argv[1])
import sdhelpers
assert sdhelpers.__file__.startswith(sys.argv[1]), sdhelpers.__file__
components = sdhelpers.load_components(device="cpu")
[image] = sdhelpers.generate(
    components, "a photograph of an astronaut riding a horse", num_inference_steps=4,
    scheduler="DPM-Solver++", show_progress=False,
)
print(image.size, len(set(image.tobytes())))
"""


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(folder), str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_small_and_whole(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info" not in name}
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sdhelpers").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(expected) > 20
    assert packed == expected


@pytest.mark.thorough
def test_an_installed_wheel_paints_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True)
    result = subprocess.run(
        [sys.executable, "-c", PAINT_OUTSIDE, str(target)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    size, num_levels = re.fullmatch(r"(\(\d+, \d+\)) (\d+)\n", result.stdout).groups()
    assert int(num_levels) > 100, "a picture has more than a few levels"
    assert size[1:-1].split(", ")[0] == size[1:-1].split(", ")[1]


def test_conda_and_pip_ask_for_the_same(pyproject: dict) -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_bytes())
    *conda, pip = environment["dependencies"]
    assert f"python{pyproject['project']['requires-python']}" in conda
    listed = [entry for entry in pip["pip"] if not entry.startswith("-")]
    assert sorted(listed) == sorted(pyproject["project"]["dependencies"])
    assert {"-c constraints.txt", "-e ."} <= set(pip["pip"])


def test_constraints_pin_every_requirement_within_its_bounds(pyproject: dict) -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins}
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    assert versions["torch"] == "2.13.0"
    extras = pyproject["project"]["optional-dependencies"].values()
    wanted = [
        *pyproject["project"]["dependencies"],
        *(entry for extra in extras for entry in extra),
    ]
    assert len(wanted) > 10
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        "sdhelpers/tiny_sd/README.md",
        "training/README.md",
        "training/EXPERIMENTS.md",
    ],
)
def test_links_exist(name: str) -> None:
    path = ROOT / name
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", path.read_text(encoding="utf-8"))
    local = ["".join(found) for found in targets if not "".join(found).startswith("https://")]
    assert local
    for target in local:
        assert (path.parent / target).exists(), f"{name} links {target}, which is not there"


def test_versions_agree(pyproject: dict) -> None:
    import sdhelpers

    assert pyproject["project"]["version"] == sdhelpers.__version__
    assert f"## [{sdhelpers.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_continuous_integration_runs_the_readmes_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in readme
    assert "make lab" in readme
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for target in ("test", "test-rest", "test-browser"):
        assert re.search(rf"^(timeout \d+ )?make {target}$", commands, re.M)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_bytes())
    assert set(workflow["jobs"]["make"]["strategy"]["matrix"]["os"]) == {
        "ubuntu-latest",
        "macos-latest",
    }
    runs = {
        job: [step["run"] for step in steps["steps"] if "run" in step]
        for job, steps in workflow["jobs"].items()
    }
    assert "make test" in runs["make"]
    assert "make test-all" in runs["everything"]
    windows = runs["windows"]
    assert len(windows) == 5
    for command in windows:
        assert command in readme, f"the README does not say: {command}"


def test_the_readmes_examples_run(tmp_path: Path, monkeypatch, capsys) -> None:
    """Both of them, one after the other, as a reader would."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)
    assert len(examples) == 2
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in examples:
        exec(compile(example, "README.md", "exec"), names)
    with Image.open("castle.png") as saved:
        assert saved.size == names["image"].size
    printed = capsys.readouterr().out.split("\n")
    assert len(printed) > 50

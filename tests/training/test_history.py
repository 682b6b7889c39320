"""The training README's tables of the two-core runs say what the runs recorded."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from training.measures import wilson_interval

TRAINING = Path(__file__).resolve().parents[1] / "training"
SECTION = (
    (TRAINING / "README.md")
    .read_text(encoding="utf-8")
    .split("### On two cores\n")[1]
    .split("\n### ")[0]
)
RUNS = ["two_cores", "two_cores_again", "two_cores_steps"]  # the columns of the tables, in order
CURVES = {
    "1, L1 and edges": ("vae", ["l1", "gradient"]),
    "3, captions": ("text_encoder", ["accuracy", "order"]),
    "4, loss per noise level": ("unet", ["t0", "t1", "t2", "t3", "t4"]),
}
KINDS = ["single object", "two objects", "relation", "background", "object colour", "held out"]


def _rows() -> Iterator[list[str]]:
    """Yield the cells of each row of the section's tables, an empty first cell filled in."""
    first = ""
    for line in SECTION.splitlines():
        if line.startswith("|"):
            first_cell, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            first = first_cell or first
            yield [first, *cells]


def _curve_cells(run: int) -> list[tuple[str, str, str]]:
    """Give stage, time and figures of each row that tells of a curve."""
    return [
        (name, when, figures[run])
        for stage, when, *figures in _rows()
        for name in CURVES
        if stage.startswith(name) and (when == "the end" or when.startswith("step"))
    ]


def _evaluation(run: int) -> str:
    return (TRAINING / "history" / RUNS[run] / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("run", range(len(RUNS)), ids=RUNS)
def test_losses_are_those_of_the_curves(run: int) -> None:
    cells = _curve_cells(run)
    assert len(cells) == 8
    for name, when, figures in cells:
        stage, keys = CURVES[name]
        path = TRAINING / "history" / RUNS[run] / f"{stage}.json"
        history = json.loads(path.read_text(encoding="utf-8"))
        is_end = when == "the end"
        if is_end:
            when, figures = figures.split(": ")
        step = int(when.removeprefix("step ").replace(",", ""))
        assert is_end == (step == history[-1]["step"]), (path, step)
        reach = 0 if stage == "text_encoder" else 256  # a mean, except at stage 3
        near = [line for line in history if abs(line["step"] - step) <= reach]
        for key, text in zip(keys, re.split("[,;] ", figures), strict=True):
            places = len(text.partition(".")[2])
            mean = fmean(line[key] for line in near)
            assert mean == pytest.approx(float(text), abs=0.501 * 10**-places), (stage, step, key)


@pytest.mark.parametrize("run", range(len(RUNS)), ids=RUNS)
def test_shares_are_those_of_the_evaluations(run: int) -> None:
    shares = {name: cells[run] for name, *cells in _rows() if len(cells) == len(RUNS)}
    evaluation = _evaluation(run)
    painted = dict(re.findall(r"^\| ([a-z ]+) \| 250 \| ([^|]+) \|", evaluation, re.MULTILINE))
    assert painted == {kind: shares[kind] for kind in KINDS}

    right = sum(round(250 * float(share.split()[0])) for share in painted.values())
    low, high = wilson_interval(right, 1500)
    assert shares["all 1,500 prompts"] == f"{right / 1500:.3f} ({low:.3f}-{high:.3f})"

    (frechet,) = [shares[name] for name in shares if name.startswith("Fréchet")]
    found = re.search(r"held-out renders: ([\d.]+); .*?VAE: ([\d.]+)", evaluation)
    assert frechet == f"{found[1]} ({found[2]})"
    (diversity,) = [shares[name] for name in shares if name.startswith("diversity")]
    assert diversity == re.search(r"ratio ([\d.]+);", evaluation)[1]


@pytest.mark.parametrize("run", range(len(RUNS)), ids=RUNS)
def test_autoencoders_are_those_of_the_evaluations(run: int) -> None:
    (cells,) = [figures for _, when, *figures in _rows() if when == "on 1,000 scenes"]
    decibels, ssim = re.search(r"PSNR ([\d.]+) dB, SSIM ([\d.]+)", _evaluation(run)).groups()
    assert re.findall(r"[\d.]+", cells[run]) == [decibels, f"{float(ssim):.3f}"]

"""The model card says of the training what its stages recorded."""

import json
import re
from pathlib import Path

import pytest

from sdhelpers import TINY_SD
from training.judging.judge import JUDGE_FOLDER

HISTORY = Path(__file__).parents[2] / "training" / "history"
CARD = (TINY_SD / "README.md").read_text(encoding="utf-8")
STAGES = {
    "vae": "VAE",
    "text_encoder": "text encoder",
    "unet": "UNet and text encoder together",
}


def last_line(stage: str) -> dict[str, float]:
    return json.loads((HISTORY / f"{stage}.json").read_bytes())[-1]


@pytest.mark.parametrize("stage", STAGES)
def test_steps_and_times_are_those_of_the_curves(stage: str) -> None:
    pattern = rf"^\| {STAGES[stage]} \| ([\d,]+) of .*?, ([\d.]+) (min|s) \|"
    (steps, time, unit) = re.search(pattern, CARD, re.MULTILINE).groups()
    recorded = last_line(stage)
    assert int(steps.replace(",", "")) == recorded["step"]
    seconds_per_unit = {"min": 60, "s": 1}[unit]
    assert float(time) * seconds_per_unit == pytest.approx(recorded["seconds"], rel=0.01)


def test_the_judge_took_as_many_steps_as_its_curve() -> None:
    config = json.loads((JUDGE_FOLDER / "config.json").read_bytes())
    assert config["num_steps"] == last_line("judge")["step"]

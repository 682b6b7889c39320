"""Slow, and only where asked for: `python -m pytest -m slow tests/lessons/test_true_size.py`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.slow
def test_two_steps_of_the_true_architecture(tmp_path: Path) -> None:
    """Oracle: the pipeline, in a process of its own: equal numbers, and no more memory."""
    peaks, results = {}, {}
    for way in ("ours", "pipeline"):
        out = tmp_path / f"{way}.pt"
        done = subprocess.run(
            [sys.executable, "-m", "tools.true_size", way, str(out)],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[way] = int(done.stdout.split()[-1])
        results[way] = torch.load(out)
    assert results["ours"]["latents"].shape == (1, 4, 64, 64)
    assert results["ours"]["picture"].shape == (1, 3, 512, 512)
    for name, theirs in results["pipeline"].items():
        ours = results["ours"][name].clamp(-1, 1) if name == "picture" else results["ours"][name]
        assert theirs.std() > 0.01, "random weights gave a flat picture: this shows nothing"
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    print(f"peak memory, kB: {peaks}")
    assert peaks["ours"] <= 1.01 * peaks["pipeline"]

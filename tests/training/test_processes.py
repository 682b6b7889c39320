"""Two processes, as `accelerate launch` or torchrun starts them: the commands of the recipe."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from training.engine.options import RunOptions, make_accelerator
from training.engine.settings import SMOKE_SETTINGS
from training.stages.latent_cache import cache_latents
from training.stages.noise_prediction import make_compute_loss
from training.train_unet import train_unet

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv there"),
]


@pytest.fixture(scope="module", autouse=True)
def _cpu():
    """Let accelerate choose the CPU in both: a GPU draws other numbers from the same seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        AcceleratorState._reset_state(reset_partial_state=True)
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


def run_two(stage, folder, *options):
    """Run a stage's command in two processes on the CPU and return what both print."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", f"training.{stage}", "--smoke"]
    command += ["--folder", str(folder), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(_cpu, untrained_vae, tmp_path_factory):
    """A run with an untrained autoencoder and the latents of two processes, and their output."""
    folder = tmp_path_factory.mktemp("run")
    untrained_vae.save_pretrained(folder / "vae" / "model")
    return folder, run_two("cache_latents", folder)


def test_two_processes_share_the_files_of_stage_2(run, tmp_path):
    folder, printed = run
    paths = sorted((folder / "latents").iterdir())
    assert len(paths) == 2
    for path in paths:
        assert printed.count(path.name) == 1  # one of the processes wrote it
    (tmp_path / "vae").symlink_to(folder / "vae")
    cache_latents(SMOKE_SETTINGS["cache"], tmp_path, make_accelerator("no"))
    for path in paths:
        alone = load_file(tmp_path / "latents" / path.name)
        for name, tensor in load_file(path).items():
            assert torch.allclose(tensor.float(), alone[name].float(), atol=1e-3), name


def test_two_processes_take_the_steps_of_one_with_both_batches(run, tmp_path, monkeypatch):
    folder, _ = run
    printed = run_two("train_text_encoder", folder, "--steps", "2")
    assert printed.count("step      2 ") == 1, printed  # the main process speaks
    assert run_two("train_unet", folder, "--steps", "2").count("step      2 ") == 1
    for name in ("vae", "latents", "text_encoder"):
        (tmp_path / name).symlink_to(folder / name)

    def make_mean_loss(data, settings, accelerator):
        losses = [
            make_compute_loss(data, settings, SimpleNamespace(device="cpu", process_index=index))
            for index in (0, 1)
        ]

        def compute_loss(model, step, share):
            (first, bins), (second, _) = (loss(model, step, share) for loss in losses)
            return (first + second) / 2, bins

        return compute_loss

    monkeypatch.setattr("training.train_unet.make_compute_loss", make_mean_loss)
    train_unet(SMOKE_SETTINGS["unet"], RunOptions(tmp_path, num_steps=2))
    together, alone = (
        torch.load(path / "unet" / "checkpoint.pt", weights_only=True)
        for path in (folder, tmp_path)
    )
    assert together["step"] == alone["step"] == 2
    first = alone["average"]  # lags behind, so the steps are seen from there
    moved, apart = (
        sum((alone["model"][name] - other[name]).square().sum() for name in first).sqrt()
        for other in (first, together["model"])
    )
    assert apart < 0.01 * moved, (apart, moved)

"""The discriminator: its losses, who learns from which, how far it sees, and a run with it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from training.engine.options import RunOptions
from training.engine.settings import SMOKE_SETTINGS, VaeSettings, override
from training.stages.autoencoder import (
    JudgedAutoencoder,
    adversarial_losses,
    make_compute_loss,
    make_discriminator,
    make_vae,
)
from training.train_vae import train_vae

TINY = VaeSettings(block_out_channels=(16, 16, 16, 16), norm_num_groups=4, discriminator_width=8)


@pytest.fixture
def judged() -> JudgedAutoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return JudgedAutoencoder(make_vae(TINY), make_discriminator(8))


def judge_noise(judged: JudgedAutoencoder) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixel_values = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    noise = torch.randn(2, 4, 4, 4, generator=generator)
    return adversarial_losses(*judged(pixel_values, noise)[3:])


def has_gradient(network: torch.nn.Module) -> bool:
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    return any(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("shift", [0.0, 0.7, 3.0])
def test_the_losses_agree_with_plain_formulas(shift: float) -> None:
    generator = torch.Generator().manual_seed(0)
    on_true = torch.randn(2, 1, 4, 4, generator=generator) + shift
    on_decoded = torch.randn(2, 1, 4, 4, generator=generator) - shift
    losses = adversarial_losses(on_true, on_decoded, on_decoded)
    on_both = [np.maximum(0, 1 - on_true.numpy()), np.maximum(0, 1 + on_decoded.numpy())]
    assert losses["discriminator"].item() == pytest.approx(np.mean(on_both), rel=1e-5)
    assert losses["adversarial"].item() == pytest.approx(-on_decoded.numpy().mean(), rel=1e-5)


def test_the_discriminator_learns_from_its_own_loss_only(judged) -> None:
    judge_noise(judged)["discriminator"].backward()
    assert has_gradient(judged.discriminator)
    assert not has_gradient(judged.vae)


def test_the_autoencoder_learns_from_the_verdicts_only(judged) -> None:
    judge_noise(judged)["adversarial"].backward()
    assert has_gradient(judged.vae)
    assert not has_gradient(judged.discriminator)


def test_a_verdict_sees_38_pixels() -> None:
    torch.manual_seed(0)
    pixel_values = torch.randn(1, 3, 128, 128, requires_grad=True)
    verdicts = make_discriminator(8)(pixel_values)
    assert verdicts.shape == (1, 1, 16, 16)
    verdicts[0, 0, 8, 8].backward()
    for axis in (1, 2):
        seen = (pixel_values.grad[0] != 0).any(0).any(axis - 1).nonzero()
        assert seen.max() - seen.min() + 1 == 38


def test_it_learns_to_tell_sharp_from_blurred() -> None:
    torch.manual_seed(0)
    discriminator = make_discriminator(8)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        sharp = torch.rand(8, 3, 32, 32) * 2 - 1
        return sharp, functional.avg_pool2d(sharp, 3, 1, 1)

    for _ in range(60):
        on_true, on_decoded = (discriminator(pictures) for pictures in draw())
        loss = adversarial_losses(on_true, on_decoded, on_decoded)["discriminator"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        on_true, on_decoded = (discriminator(pictures) for pictures in draw())
    assert (on_true > 0).float().mean() > 0.95
    assert (on_decoded < 0).float().mean() > 0.95


def test_the_verdicts_count_in_the_last_part_of_a_run_only(judged) -> None:
    settings = override(SMOKE_SETTINGS["vae"], ["adversarial_weight=0.5", "adversarial_share=0.25"])
    pictures = torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8)
    accelerator = SimpleNamespace(process_index=0, device="cpu")
    compute_loss = make_compute_loss(pictures, settings, accelerator)
    before, early = compute_loss(judged, 3, 0.74)
    after, late = compute_loss(judged, 3, 0.75)
    assert early == late
    assert abs(early["adversarial"]) > 1e-4
    assert (after - before).item() == pytest.approx(0.5 * early["adversarial"].item(), rel=1e-3)


@pytest.mark.thorough
def test_a_run_with_it_leaves_a_plain_vae(tmp_path) -> None:
    settings = override(SMOKE_SETTINGS["vae"], ["adversarial_weight=0.05", "num_scenes=16"])
    options = RunOptions(tmp_path, num_steps=4)
    train_vae(settings, options)
    options = RunOptions(tmp_path, num_steps=6)
    train_vae(settings, options)  # resumes, the discriminator included
    history = json.loads((tmp_path / "vae" / "history.json").read_bytes())
    assert history[-1]["step"] == 6
    assert {"discriminator", "adversarial"} < set(history[-1])
    AutoencoderKL.from_pretrained(tmp_path / "vae" / "model")

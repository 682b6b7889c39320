"""Compiled training: the replaced interpolation, and gradients that must not get lost."""

import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.nn import functional

from training.engine.compiled import (
    compile_checked,
    double_pixels,
    gradients,
    lost_gradients,
    replace_interpolation,
)
from training.engine.options import make_accelerator
from training.engine.settings import UnetSettings
from training.judging import examination
from training.judging.judge import SMOKE_JUDGE
from training.stages.noise_prediction import make_unet

TINY_UNET = UnetSettings(block_out_channels=(32, 32, 32), attention_head_dim=2, norm_num_groups=8)


def squared_output(
    model: nn.Module, step: int, share: float
) -> tuple[torch.Tensor, dict[str, float]]:
    pixels = torch.randn(8, 256, 8, 8, generator=torch.Generator().manual_seed(step))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    return model(pixels).float().square().mean(), {}


def make_network() -> nn.Sequential:
    """Large enough for the trap: 8 pictures of 256 channels."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), Upsample2D(256, use_conv=True))
    return network.to(memory_format=torch.channels_last)


class Faithful(nn.Module):
    """What a good compiler makes of a network: the same, a level deeper, as torch.compile does."""

    def __init__(self, network: nn.Module, **_: object) -> None:
        super().__init__()
        self._orig_mod = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._orig_mod(pixels)


class LosesTheFirst(Faithful):
    """What a bad one might make of `make_network`: the first layer gets no gradient."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        first, second = self._orig_mod
        return second(first(pixels).detach())


def test_doubled_pixels_agree_with_the_library_both_ways() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 5, 4, generator=generator, requires_grad=True)
    weights = torch.randn(2, 3, 10, 8, generator=generator)
    theirs = functional.interpolate(pixels, scale_factor=2.0, mode="nearest")
    (expected,) = torch.autograd.grad((theirs * weights).sum(), pixels)
    ours, *others = double_pixels(nn.Identity(), (pixels, "kept"))
    (gradient,) = torch.autograd.grad((ours * weights).sum(), pixels)
    assert torch.equal(ours, theirs)
    assert torch.allclose(gradient, expected, atol=1e-6)
    assert others == ["kept"]


def test_a_unet_paints_the_same_without_interpolation() -> None:
    torch.manual_seed(0)
    unet = make_unet(TINY_UNET, (4, 16, 16), 16)
    arguments = torch.randn(2, 4, 16, 16), torch.tensor([3, 700]), torch.randn(2, 5, 16)
    with torch.no_grad():
        before = unet(*arguments).sample
        replace_interpolation(unet)
        replace_interpolation(unet)  # twice is once
        after = unet(*arguments).sample
    upsamplers = [module for module in unet.modules() if isinstance(module, Upsample2D)]
    assert len(upsamplers) == 2
    assert not any(module.interpolate for module in upsamplers)
    assert (before - after).abs().max() < 1e-6


def test_lost_gradients_are_found_and_rounding_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    plain = {
        name: torch.randn(50, generator=generator) for name in ("good", "zero", "turned", "gone")
    }
    plain["tiny"] = 1e-6 * torch.randn(50, generator=generator)
    noise = torch.randn(50, generator=generator)
    compiled = {
        "good": plain["good"] + 0.1 * noise,
        "zero": torch.zeros(50),
        "turned": -plain["turned"],
        "tiny": 1e-6 * noise,
    }
    lost = lost_gradients(plain, compiled)
    assert lost == {"zero": 0.0, "turned": pytest.approx(-1), "gone": 0.0}
    assert lost_gradients(plain, plain) == {}


def test_a_compiler_that_loses_gradients_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", LosesTheFirst)
    network, accelerator = make_network(), make_accelerator("no")
    with pytest.raises(RuntimeError, match=r"of 2 of 4 parameters.*without --compile"):
        compile_checked(network, squared_output, 3, 0.0, accelerator)


def test_a_faithful_compiler_is_taken_and_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", Faithful)
    network, accelerator = make_network(), make_accelerator("no")
    before = [parameter.detach().clone() for parameter in network.parameters()]
    compiled = compile_checked(network, squared_output, 3, 0.0, accelerator)
    assert compiled._orig_mod is network
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is None


@pytest.mark.parametrize(
    ("device", "num_processes", "mode"),
    [("cuda", 1, "reduce-overhead"), ("cuda", 2, None), ("cpu", 1, None)],
)
def test_only_a_single_gpu_records_its_steps(
    monkeypatch: pytest.MonkeyPatch, device: str, num_processes: int, mode: str | None
) -> None:
    """Processes that exchange gradients can't replay theirs; a CPU has nothing to record."""
    asked = []

    def remember(network: nn.Module, **options: object) -> nn.Module:
        asked.append(options)
        return Faithful(network)

    monkeypatch.setattr(torch, "compile", remember)
    accelerator = SimpleNamespace(
        device=torch.device(device),
        num_processes=num_processes,
        autocast=nullcontext,
        backward=torch.Tensor.backward,
        print=print,
    )
    compile_checked(make_network(), squared_output, 3, 0.0, accelerator)
    assert asked == [{"dynamic": False, "mode": mode}]


def test_the_judge_may_be_asked_for_a_step_twice() -> None:
    seen = []

    def look(pixel_values: torch.Tensor) -> dict:
        seen.append(pixel_values)
        return {"nouns": torch.zeros(1)}

    batches = iter([(torch.zeros(1, 3, 16, 16).byte(), {}), (torch.ones(1, 3, 16, 16).byte(), {})])
    accelerator = SimpleNamespace(process_index=0, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examination, "judge_loss", lambda logits, targets: (logits, {}))
        compute_loss = examination.make_compute_loss(batches, SMOKE_JUDGE, accelerator)
        for step in (4, 4, 5):
            compute_loss(look, step, 0.0)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_true_compiler_keeps_the_gradients_in_bfloat16() -> None:
    """Without the replacement, torch 2.13 loses those of the first layer."""
    network = make_network()
    accelerator = SimpleNamespace(  # a true one keeps its precision for the whole process
        device=torch.device("cpu"),
        autocast=lambda: torch.autocast("cpu", torch.bfloat16),
        backward=torch.Tensor.backward,
        print=print,
    )
    compiled = compile_checked(network, squared_output, 0, 0.0, accelerator)
    assert (
        lost_gradients(
            gradients(network, squared_output, 1, 0.0, accelerator),
            gradients(compiled, squared_output, 1, 0.0, accelerator),
        )
        == {}
    )

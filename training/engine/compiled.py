"""torch.compile for a run: its known trap is avoided, and its gradients are compared first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers.models.upsampling import Upsample2D
from torch.nn import functional

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from training.engine.loop import ComputeLoss

# No unit. A compiled network rounds in other places. Rounding to bfloat16 as such left the gradient
# of every parameter of the UNet a cosine of 0.77 or more with float32's; a lost one has 0.
LOWEST_COSINE = 0.5
# Share of the whole gradient's norm below which a parameter's own is mostly rounding.
SMALLEST_SHARE = 1e-3


def double_pixels(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Make four equal pixels of each; a forward hook for a module with its inputs.

    Returns:
        The inputs, the first (B, C, 2H, 2W) instead of (B, C, H, W).
    """
    pixels, *others = inputs
    rows, channels, height, width = pixels.shape
    repeated = pixels[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)
    return repeated.reshape(rows, channels, 2 * height, 2 * width), *others


def replace_interpolation(model: nn.Module) -> None:
    """Let a network double its pixels without torch's interpolation, in place.

    Compiled for a CPU in bfloat16 with channels last, the interpolation of torch 2.13 loses the
    whole gradient without a word, so that nothing learns that lies below it.
    """
    for module in model.modules():
        if isinstance(module, Upsample2D) and module.interpolate:
            module.interpolate = False
            module.register_forward_pre_hook(double_pixels)


def gradients(
    model: nn.Module, compute_loss: ComputeLoss, step: int, share: float, accelerator: Accelerator
) -> dict[str, torch.Tensor]:
    """Return the gradients of one training step, parameter by parameter; no optimiser moves.

    Args:
        model: the network, plain or compiled.
        compute_loss: see `loop.training_steps`.
        step: the step's number, from 0.
        share: share of the budget that is spent.
        accelerator: accelerate.Accelerator.
    """
    model.zero_grad(set_to_none=True)
    with accelerator.autocast():
        loss, _ = compute_loss(model, step, share)
    accelerator.backward(loss)
    found = {
        name.replace("_orig_mod.", ""): parameter.grad.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad(set_to_none=True)
    return found


def lost_gradients(
    plain: dict[str, torch.Tensor], compiled: dict[str, torch.Tensor]
) -> dict[str, float]:
    """Find the parameters whose compiled gradient points elsewhere than the plain one.

    Args:
        plain: gradients of a step, as of `gradients`.
        compiled: those of the same step from the compiled network.

    Returns:
        dict of their names -> cosine between the two; a gradient that is missing counts as 0.
    """
    total = torch.stack([gradient.norm() for gradient in plain.values()]).norm()
    cosines = {
        name: functional.cosine_similarity(
            gradient.flatten(), compiled.get(name, torch.zeros_like(gradient)).flatten(), dim=0
        ).item()
        for name, gradient in plain.items()
        if gradient.norm() > SMALLEST_SHARE * total
    }
    return {name: cosine for name, cosine in cosines.items() if cosine < LOWEST_COSINE}


def compile_checked(
    model: nn.Module, compute_loss: ComputeLoss, step: int, share: float, accelerator: Accelerator
) -> nn.Module:
    """Compile a network, and compare the gradients of a step before any is taken.

    Args:
        model: the prepared network; its interpolations are replaced.
        compute_loss: see `loop.training_steps`.
        step: the step's number, from 0.
        share: share of the budget that is spent.
        accelerator: accelerate.Accelerator.

    Returns:
        The compiled network, with the same parameters.

    Raises:
        RuntimeError: if the compiled network would learn something else.
    """
    plain = gradients(model, compute_loss, step, share, accelerator)
    replace_interpolation(model)
    # One GPU replays each step from recorded graphs. To launch its 2,100 kernels one by one took a
    # processor 69 ms, and their work 24 ms (UNet and text encoder, 512 scenes, NVIDIA H200).
    is_recorded = accelerator.device.type == "cuda" and accelerator.num_processes == 1
    mode = "reduce-overhead" if is_recorded else None
    compiled_model = torch.compile(model, dynamic=False, mode=mode)
    lost = lost_gradients(plain, gradients(compiled_model, compute_loss, step, share, accelerator))
    if lost:
        name = min(lost, key=lost.get)
        raise RuntimeError(
            f"torch.compile changes the gradients of {len(lost)} of {len(plain)} parameters, those "
            f"of {name} most (cosine {lost[name]:.2f}): the run would learn something else; start "
            "it without --compile"
        )
    accelerator.print(f"compiled; the gradients of all {len(plain)} parameters agree")
    return compiled_model

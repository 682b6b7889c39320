"""Fit a model into the memory that is there: savings by name, and what to say when it is full."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from sdhelpers.model.device import is_memory_error

if TYPE_CHECKING:
    from sdhelpers.model.parts import Components

_ADVICE = (
    "What helps, in this order: (1) half precision, load_components(..., dtype=torch.float16), on "
    "a GPU; (2) less at once: one picture, a smaller height and width, and "
    "load_components(..., attention_slicing=True, vae_tiling=True, vae_slicing=True); (3) only "
    "the part at work on the GPU, load_components(..., cpu_offload=True). Restart the kernel "
    "first, so that what fills the memory now is gone. device='cpu' always works, slowly."
)
_MPS_MISSING = "not currently implemented for the MPS device"
_MPS_ADVICE = (
    "This operation is missing on Apple's GPU. Set the environment variable "
    "PYTORCH_ENABLE_MPS_FALLBACK=1 before Python starts, and the CPU does it; or load the model "
    "with device='cpu'."
)


def apply_savings(
    components: "Components",
    device: torch.device | str,
    *,
    attention_slicing: bool = False,
    vae_slicing: bool = False,
    vae_tiling: bool = False,
    cpu_offload: bool = False,
) -> None:
    """Let a model use less memory; the pictures stay the same up to rounding.

    Args:
        components: the five parts, changed in place.
        device: where they compute.
        attention_slicing: the UNet computes attention head by head. Saves memory only where torch
            has no fused attention; slower.
        vae_slicing: the VAE decodes one picture of a batch at a time.
        vae_tiling: the VAE decodes pictures larger than those of its training tile by tile, and
            blends the tiles. This one changes pictures a little.
        cpu_offload: keep parts in the CPU's memory and bring each to the device for its work.

    Raises:
        ValueError: if cpu_offload is asked for on a CPU, where there is nothing to gain.
    """
    device = torch.device(device)
    check_offload(device, cpu_offload)
    if attention_slicing:
        components.unet.set_attention_slice("max")
    if vae_slicing:
        components.vae.enable_slicing()
    if vae_tiling:
        components.vae.enable_tiling()
    if cpu_offload:
        offload_to_cpu(components, device)


def check_offload(device: torch.device, cpu_offload: bool) -> None:
    """Raise a ValueError if parts shall be moved between the CPU and itself."""
    if cpu_offload and device.type == "cpu":
        raise ValueError(
            "cpu_offload moves parts between a GPU and the CPU, and the device is 'cpu'. Leave "
            "it out."
        )


def offload_to_cpu(components: "Components", device: torch.device | str) -> None:
    """Let each network come to a device when it is called, and the others go back.

    Args:
        components: the networks' forward passes are hooked by accelerate.
        device: where they compute; `device.execution_device` tells it afterwards.
    """
    from accelerate.hooks import CpuOffload, add_hook_to_module

    networks = components.networks

    class Alone(CpuOffload):
        """Send the others back, whichever came before: a part may be skipped."""

        def pre_forward(self, module: torch.nn.Module, *args: object, **kwargs: object) -> tuple:
            for other in networks:
                if other is not module and next(other.parameters()).device.type != "cpu":
                    other.to("cpu")
            return super().pre_forward(module, *args, **kwargs)

    for network in networks:
        add_hook_to_module(network, Alone(device))


@contextmanager
def explained_memory_errors() -> Iterator[None]:
    """Add to an out-of-memory error, or one of Apple's GPU, a note on what to do."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:  # OutOfMemoryError is a RuntimeError
        if is_memory_error(error):
            error.add_note(_ADVICE)
        elif _MPS_MISSING in str(error):
            error.add_note(_MPS_ADVICE)
        raise

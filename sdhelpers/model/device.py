"""Which device, and in which precision."""

import os

import torch

# What CUDA, Apple's GPU and the CPU's allocator (Linux and macOS, Windows) say when it is full.
_MEMORY_FULL = ("out of memory", "can't allocate memory", "not enough memory")


def pick_device() -> torch.device:
    """Give the fastest device here: an NVIDIA or AMD GPU, an Apple GPU, or the CPU.

    The environment variable SDHELPERS_DEVICE overrides it, for example with "cpu".

    Raises:
        ValueError: if that variable names no device.
    """
    chosen = os.environ.get("SDHELPERS_DEVICE")
    if chosen:
        return make_device(chosen)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(device: torch.device | str) -> torch.dtype:
    """Give the precision that suits a device.

    Args:
        device: a device or its name.

    Returns:
        float16 on cuda, where it is faster and halves the memory; float32 on the CPU, where it
        is neither, and on mps, where half precision overflows in some operations.
    """
    return torch.float16 if torch.device(device).type == "cuda" else torch.float32


def execution_device(network: torch.nn.Module) -> torch.device:
    """Give the device on which a network computes.

    With `cpu_offload` that is not the one where its weights wait: accelerate's hook brings them.
    """
    device = getattr(getattr(network, "_hf_hook", None), "execution_device", None)
    return network.device if device is None else torch.device(device)


def make_device(device: torch.device | str) -> torch.device:
    """Give a device by its name, or raise a ValueError that lists some."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"There is no device {device!r}. Say 'cpu', 'cuda', 'cuda:1' or 'mps', or leave it out."
        ) from error


def is_memory_error(error: BaseException) -> bool:
    """Tell whether an error means that a device, or the CPU, had too little memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in _MEMORY_FULL
    )


def check_dtype(device: torch.device, dtype: torch.dtype) -> None:
    """Raise a ValueError unless the device can run a small network in this precision.

    An error that says that its memory is full is left as it is.
    """
    try:
        values = torch.ones((1, 4, 4, 4), device=device, dtype=dtype)
        values = torch.nn.functional.conv2d(values, values[:, :, :3, :3])
        torch.nn.functional.scaled_dot_product_attention(values, values, values)
    except (RuntimeError, TypeError, AssertionError) as error:
        if is_memory_error(error):
            raise
        raise ValueError(
            f"The device {str(device)!r} cannot run these networks in {dtype}: {error} "
            "Leave dtype and device out, or use dtype=torch.float32 and device='cpu'."
        ) from error

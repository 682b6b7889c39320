"""A model's networks without their weights: to count parameters and to follow shapes.

On torch's meta device tensors have shapes and no numbers, so even the largest network costs neither
memory nor time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sdhelpers.model.parts import Networks

# The published configs of CompVis/stable-diffusion-v1-4; stable-diffusion-v1-5 has the same.
SD_V1_CONFIGS = Path(__file__).parents[1] / "sd_v1_configs"


def make_networks(
    folder: str | Path,
    device: torch.device | str = "meta",
    dtype: torch.dtype = torch.float32,
) -> Networks:
    """Build the networks that a folder's configs describe, in evaluation mode.

    Args:
        folder: in the standard layout, such as `TINY_SD` or `SD_V1_CONFIGS`; weights in it are
            not read.
        device: "meta": shapes only. Anything else: random weights there, from torch's global
            generator.
        dtype: of the weights.

    Raises:
        OSError: if a config is missing.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    configs = {
        "text_encoder": CLIPTextConfig.from_pretrained(folder, subfolder="text_encoder"),
        "unet": UNet2DConditionModel.load_config(folder, subfolder="unet"),
        "vae": AutoencoderKL.load_config(folder, subfolder="vae"),
    }
    with torch.device(device), _default_dtype(dtype):
        return Networks(
            CLIPTextModel(configs["text_encoder"]).eval(),
            UNet2DConditionModel.from_config(configs["unet"]).eval(),
            AutoencoderKL.from_config(configs["vae"]).eval(),
        )


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new tensors in a precision, for the length of the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def count_parameters(network: torch.nn.Module) -> int:
    """Count the numbers that training found."""
    return sum(parameter.numel() for parameter in network.parameters())

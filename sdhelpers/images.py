"""Convert between the pictures that people see and the tensors that the VAE eats.

This is the only module that knows the ranges [-1, 1], [0, 1] and 0-255, and the layouts
HWC (height, width, channel: PIL and numpy) and CHW (torch).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps


def load_image(path: str | Path, size: int | tuple[int, int]) -> Image.Image:
    """Read a picture of any size from a file, cut out its middle and resize that.

    Args:
        path: of a picture file, such as PNG or JPEG. A photograph is turned upright.
        size: width and height of the result in pixels; one number makes a square.

    Returns:
        RGB picture; transparent parts are laid over white. The file is unchanged.

    Raises:
        ValueError: if the size is not one or two positive integers, or the colours are deeper
            than 8 bits.
        OSError: Pillow's own error if there is no such file, or it holds no picture.
    """
    sides = size if isinstance(size, tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"size must be one or two positive integers (pixels), got {size!r}.")
    with Image.open(path) as image:
        upright = to_rgb(ImageOps.exif_transpose(image))
    return ImageOps.fit(upright, sides, Image.Resampling.LANCZOS)


def image_to_tensor(image: Image.Image | Sequence[Image.Image]) -> torch.Tensor:
    """Turn one picture, or several of one size, into pixel values.

    Args:
        image: PIL image of 8 bits a channel, or a sequence of them, all of the same size. Grey
            becomes RGB; transparent parts are laid over white.

    Returns:
        (B, 3, H, W) float32 in [-1, 1]; B is 1 for a single picture. The pictures are unchanged.

    Raises:
        ValueError: if there is no picture, something is not a picture or has deeper colours, or
            the sizes differ.
    """
    images = list(image) if isinstance(image, list | tuple) else [image]
    strangers = [type(item).__name__ for item in images if not isinstance(item, Image.Image)]
    if not images or strangers:
        given = ", ".join(strangers) or "an empty sequence"
        raise ValueError(
            f"image must be one or more PIL images, got {given}. Image.open reads a file."
        )
    sizes = sorted({item.size for item in images})
    if len(sizes) > 1:
        raise ValueError(
            f"All pictures must have one size, got (width, height) {sizes}. Resize them first."
        )
    levels = np.stack([np.asarray(to_rgb(item)) for item in images])
    return torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def tensor_to_images(pixel_values: torch.Tensor) -> list[Image.Image]:
    """Turn a batch of pixel values into pictures, rounding to the nearest of the 256 levels.

    Args:
        pixel_values: (B, 3, H, W), floating point, [-1, 1]; values outside are clipped, as the
            VAE's decoder oversteps a little. On any device; unchanged.

    Returns:
        B RGB pictures.

    Raises:
        ValueError: if the shape or dtype is wrong, or a value is NaN or infinite.
    """
    if pixel_values.ndim != 4 or pixel_values.shape[1] != 3 or not pixel_values.is_floating_point():
        raise ValueError(
            "pixel_values must be a floating-point tensor of shape (B, 3, H, W), got "
            f"{tuple(pixel_values.shape)} {pixel_values.dtype}."
        )
    if not bool(pixel_values.isfinite().all()):
        raise ValueError(
            "pixel_values contain NaN or infinity, so there is no picture to show. "
            "In half precision the VAE can overflow: decode in float32."
        )
    shown = (pixel_values.detach().float() / 2 + 0.5).clamp(0, 1)
    levels = (shown.cpu().permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    return [Image.fromarray(level) for level in levels]


def tensor_to_image(pixel_values: torch.Tensor) -> Image.Image:
    """Turn the pixel values of one picture into that picture.

    Args:
        pixel_values: (3, H, W) or (1, 3, H, W), floating point, [-1, 1]; otherwise as in
            `tensor_to_images`.

    Returns:
        One RGB picture.

    Raises:
        ValueError: as `tensor_to_images`, and if there is more than one picture.
    """
    batch = pixel_values[None] if pixel_values.ndim == 3 else pixel_values
    if batch.ndim == 4 and len(batch) != 1:
        raise ValueError(
            f"pixel_values hold {len(batch)} pictures, not 1: use tensor_to_images for a batch."
        )
    return tensor_to_images(batch)[0]


def to_rgb(image: Image.Image) -> Image.Image:
    """Give an RGB version of any picture of 8 bits a channel, transparent parts laid over white.

    Raises:
        ValueError: if its colours are deeper.
    """
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"Pictures of mode {image.mode} have more than 256 levels. Scale their values to "
            "0-255 and convert them to mode 'L' or 'RGB' first."
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    with_alpha = image.convert("RGBA")
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, with_alpha).convert("RGB")

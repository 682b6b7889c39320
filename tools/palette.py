"""Store pictures with 256 colours: a third of the size or less, and hardly to be seen."""

import numpy as np
from PIL import Image, ImageFilter

_STEEP = 6  # levels between neighbours: beyond that, bands are hardly seen


def reduce_colours(image: Image.Image) -> Image.Image:
    """Give a picture with a palette of its own; what is pure white stays so.

    Only slow gradients are dithered, where bands would be seen. Dots in flat cells and along edges
    would cost most of the file and show nothing. Around a figure lies a white page, on which an
    almost white margin would be seen.
    """
    image = image.convert("RGB")
    palette = image.quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=2)
    colours = np.reshape(palette.getpalette(), (-1, 3))[:255]
    dithered, nearest = (
        np.asarray(image.quantize(palette=palette, dither=dither))
        for dither in (Image.Dither.FLOYDSTEINBERG, Image.Dither.NONE)
    )
    highest, lowest = (
        np.asarray(image.filter(kind(3)), dtype=int)
        for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter)
    )
    steepness = (highest - lowest).max(axis=-1)
    indices = np.where((steepness > 0) & (steepness < _STEEP), dithered, nearest)
    indices[(np.asarray(image) == 255).all(axis=-1)] = 255
    result = Image.fromarray(indices.astype(np.uint8), mode="P")
    result.putpalette([*colours.ravel().tolist(), *[0] * (255 * 3 - colours.size), 255, 255, 255])
    return result

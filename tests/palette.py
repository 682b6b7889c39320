"""Store pictures with 256 colours: a third of the size, and hardly to be seen."""

import numpy as np
from PIL import Image


def reduce_colours(image: Image.Image) -> Image.Image:
    """Give a picture with a palette of its own, dithered; what is pure white stays so.

    Around a figure lies a white page, on which an almost white margin would be seen.
    """
    image = image.convert("RGB")
    palette = image.quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=2)
    colours = np.reshape(palette.getpalette(), (-1, 3))[:255]
    reduced = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    indices = np.asarray(reduced).copy()
    indices[(np.asarray(image) == 255).all(axis=-1)] = 255
    result = Image.fromarray(indices, mode="P")
    result.putpalette([*colours.ravel().tolist(), *[0] * (255 * 3 - colours.size), 255, 255, 255])
    return result

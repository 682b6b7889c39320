"""Store pictures with 256 colours: a third of the size, and hardly to be seen."""

import numpy as np
from PIL import Image


def reduce_colours(image: Image.Image) -> Image.Image:
    """Give a picture with a palette of its own, dithered, with pure white kept for the page."""
    image = image.convert("RGB")
    palette = image.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2)
    colours = np.reshape(palette.getpalette(), (-1, 3))
    colours[colours.sum(axis=1).argmax()] = 255
    palette.putpalette(colours.ravel().tolist())
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)

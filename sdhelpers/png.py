"""Pictures as the bytes of PNG files, for pages; needs Pillow alone, so that widgets load fast."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo


def encode_png(image: "Image.Image", pnginfo: "PngInfo | None" = None) -> bytes:
    """Give the bytes of a PNG file.

    Args:
        image: any picture.
        pnginfo: text to write beside it; the pixels are the same with and without.
    """
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=pnginfo)
    return buffer.getvalue()

"""Images as PNG, for people to look at."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def sheet(images: np.ndarray, columns: int) -> bytes:
    """A PNG of images side by side, at most `columns` to a row, with one transparent pixel between them.

    Args:
        images: uint8, `(n, channels, height, width)`, 1 or 3 channels.
    """
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, channels + 1), dtype=np.uint8)
    opaque = np.full((height, width, 1), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        canvas[top : top + height, left : left + width] = np.concatenate([image.transpose(1, 2, 0), opaque], axis=2)
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, "PNG", optimize=True)
    return stream.getvalue()

"""Plain pixels as features: the baseline for other encoders, and sufficient for digits."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.base.shapes import ImageShape


class PixelEncoder:
    """Pixels in [0, 1], channel by channel and row by row, for images of a fixed shape.

    Args:
        shape: `(channels, height, width)`.
    """

    name = "pixels"

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.dimensions = math.prod(shape)

    def embed(self, images: Tensor) -> Tensor:
        """Pixels of images in [0, 1], `(items, channels, height, width)`; differentiable."""
        return images.flatten(1)

    def features(self, images: np.ndarray, *, batch_size: int = 256, progress: Progress | None = None) -> np.ndarray:
        """Pixels of uint8 images; float32, `(items, dimensions)`.

        Raises:
            InputError: the images are not uint8 of the encoder's shape.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.shape:
            raise InputError(
                f"the pixel encoder takes uint8 images of shape {self.shape}; got {images.dtype} of shape "
                f"{images.shape[1:]}. Resize them, or choose an encoder that resizes images"
            )
        features = np.empty((len(images), self.dimensions), dtype=np.float32)
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            np.divide(batch.reshape(len(batch), -1), 255, out=features[start : start + len(batch)], dtype=np.float32)
            if progress is not None:
                progress(len(batch))
        return features


def build(*, shape: ImageShape, device: str) -> PixelEncoder:
    """For images of this shape; NumPy reads the pixels, whatever the device."""
    return PixelEncoder(shape)

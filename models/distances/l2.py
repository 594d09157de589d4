"""The Euclidean distance of pixels."""

from __future__ import annotations

from royalty.models.base.shapes import ImageShape
from royalty.models.distances.distance import FeatureDistance, euclidean
from royalty.models.encoders.pixels import PixelEncoder


def build(*, shape: ImageShape, device: str) -> FeatureDistance:
    """Euclidean distance of pixels in [0, 1]; NumPy computes it, whatever the device."""
    return FeatureDistance("l2", PixelEncoder(shape), euclidean)

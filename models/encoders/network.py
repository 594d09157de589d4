"""Pretrained networks as encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.progress import Progress
from royalty.models.base.shapes import ImageShape
from royalty.models.encoders.encoder import in_batches, prepared


class NetworkEncoder:
    """Features computed by `read` from a network in evaluation mode.

    Args:
        net: a module; it is set to evaluation mode, and its parameters get no gradients.
        name: identifies the network, its weights and the input size; see `Encoder`.
        size: side in pixels of the square that images are resized to.
        read: from the network and prepared images, `(items, 3, size, size)`, to features, `(items, dimensions)`.
        prepare: further arguments of `royalty.models.encoders.encoder.prepared`.
    """

    def __init__(
        self, net: Any, *, name: str, size: int, read: Callable[[Any, Tensor], Tensor], **prepare: Any
    ) -> None:
        self.net = net.eval().requires_grad_(False)
        self.name, self.size = name, size
        self.device = torch.device("cpu")
        self._read, self._prepare = read, prepare
        with torch.inference_mode():
            self.dimensions: int = self.embed(torch.zeros(1, 3, size, size)).shape[1]

    def to(self, device: str) -> Self:
        self.device = torch.device(device)
        self.net.to(self.device)
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1], `(items, 1 or 3, height, width)`; differentiable."""
        inputs = prepared(images.to(self.device), self.size, **self._prepare)
        return self._read(self.net, inputs.contiguous(memory_format=torch.channels_last))

    def features(self, images: np.ndarray, *, batch_size: int = 256, progress: Progress | None = None) -> np.ndarray:
        """Embed uint8 images, `(items, 1 or 3, height, width)`; float32, `(items, dimensions)`."""
        return in_batches(
            self.embed, images, self.dimensions, device=self.device, batch_size=batch_size, progress=progress
        )


def from_folder(read: Callable[[Path], NetworkEncoder]) -> Callable[..., NetworkEncoder]:
    """A builder for `royalty.models.encoders.registry` of a network that resizes images of any shape.

    Args:
        read: from the folder of its weights to the encoder.
    """

    def build(folder: Path, *, shape: ImageShape, device: str) -> NetworkEncoder:
        return read(folder).to(device)

    return build

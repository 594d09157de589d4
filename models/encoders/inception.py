"""Inception v3 (Szegedy et al. 2016), the network of the Inception Score and FID, as implemented in torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.checkpoints import load_exactly, read_checkpoint, weights_digest
from royalty.models.encoders.network import NetworkEncoder, from_folder

SIZE = 299


class InceptionV3(NetworkEncoder):
    """Pooled activations before the last layer, 2048 numbers, and class probabilities.

    Scores with torchvision's weights are comparable with each other, but not with published scores, which use other
    weights of the same architecture.

    Args:
        net: an `Inception3` of torchvision with `transform_input=False`; its last layer is removed.
    """

    def __init__(self, net: Any) -> None:
        name = f"inception-v3-{SIZE}-{weights_digest(net)}"
        self.head: nn.Linear = net.fc.eval().requires_grad_(False)
        net.fc = nn.Identity()
        half = (0.5, 0.5, 0.5)  # maps images to [-1, 1], the input range of its weights
        super().__init__(net, name=name, size=SIZE, read=_pooled, mean=half, std=half)

    @torch.inference_mode()
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities of uint8 images, `(items, 1 or 3, height, width)`; float64, `(items, classes)`."""
        logits: Tensor = self.head(torch.from_numpy(self.features(images)))
        return logits.double().softmax(dim=1).numpy()


def inception_v3(folder: Path) -> InceptionV3:
    """Load Inception v3 from `model.pth` in a folder.

    Raises:
        InputError: the file is missing, damaged, or not the weights of an Inception v3.
    """
    from torchvision.models import inception_v3 as build  # takes a second to import

    net = build(weights=None, init_weights=False, transform_input=False)
    load_exactly(net, read_checkpoint(folder / "model.pth"), folder / "model.pth")
    return InceptionV3(net)


build = from_folder(inception_v3)


def _pooled(net: Any, inputs: Tensor) -> Tensor:
    features: Tensor = net(inputs)
    return features

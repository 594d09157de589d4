"""LPIPS (Zhang et al. 2018) as a distance between features, with the AlexNet network of the `lpips` package."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch import Tensor

from royalty.models.base.checkpoints import hub_extra, load_exactly, read_checkpoint, weights_digest
from royalty.models.base.errors import InputError
from royalty.models.base.shapes import ImageShape
from royalty.models.distances.distance import FeatureDistance, squared_euclidean, stacked
from royalty.models.encoders.network import NetworkEncoder


class LpipsEncoder(NetworkEncoder):
    """An encoder whose features have LPIPS as their squared Euclidean distance.

    Args:
        net: an `LPIPS` network of the lpips package.
        size: side in pixels of the square that images are resized to, at least 31. A feature vector has 31,872 numbers
            (125 KiB) at 64, and 5,760 at 32.

    Raises:
        InputError: `size` is below 31, or a linear head has a weight below zero.
    """

    def __init__(self, net: Any, *, size: int = 64) -> None:
        if size < 31:
            raise InputError(f"the image size of LPIPS is at least 31, not {size}; try 64.")
        heads = [head.model[-1].weight for head in net.lins]
        if any(bool((weights < 0).any()) for weights in heads):
            raise InputError(
                "LPIPS is a distance only if no weight of its linear heads is below zero, and this network has a "
                "negative one; fetch the published weights"
            )
        super().__init__(
            net,
            name=f"lpips-{net.pnet_type}-{size}-{weights_digest(net)}",
            size=size,
            read=_lpips_features,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),  # maps images to [-1, 1], the input range of LPIPS
        )


def lpips_distance(encoder: LpipsEncoder) -> FeatureDistance:
    """LPIPS between images at the encoder's size; at least 0."""
    return FeatureDistance("lpips", encoder, squared_euclidean)


def lpips_alex(folder: Path) -> LpipsEncoder:
    """Load LPIPS on AlexNet: the linear heads from the package, and AlexNet from `model.pth` in a folder.

    Raises:
        InputError: lpips is not installed, or the file is missing, damaged, or not an AlexNet.
    """
    with hub_extra():
        from lpips import LPIPS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")  # lpips passes `pretrained`
        net = LPIPS(net="alex", pnet_rand=True, verbose=False)
    path = folder / "model.pth"
    # lpips groups torchvision's layers into slices but keeps their numbers: `slice2.3.weight` is `features.3.weight`.
    published = read_checkpoint(path)
    published_names = {name: f"features.{name.split('.', 1)[1]}" for name in net.net.state_dict()}
    state = {name: published[source] for name, source in published_names.items() if source in published}
    load_exactly(net.net, state, path)
    return LpipsEncoder(net)


def build(folder: Path, *, shape: ImageShape, device: str) -> FeatureDistance:
    """For images of any shape, which it resizes."""
    return lpips_distance(lpips_alex(folder).to(device))


def _lpips_features(net: Any, inputs: Tensor) -> Tensor:
    return stacked(net.net(net.scaling_layer(inputs)), [head.model[-1].weight.flatten() for head in net.lins])

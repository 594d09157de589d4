"""LPIPS (Zhang et al. 2018) as a distance of features: the network of the `lpips` package, on AlexNet."""

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
    """Vectors whose squared Euclidean distance is LPIPS between two images.

    Args:
        net: an `LPIPS` of the lpips package.
        size: side of the square that images are resized to, at least 31. At 64 a vector has 31,872 numbers, 125 KiB;
            at 32 it has 5,760.

    Raises:
        InputError: AlexNet has no output for images so small, or a linear head has a weight below zero.
    """

    def __init__(self, net: Any, *, size: int = 64) -> None:
        if size < 31:
            raise InputError(f"LPIPS takes images whose side is at least 31, not {size}; try 64.")
        heads = [head.model[-1].weight for head in net.lins]
        if any(bool((weights < 0).any()) for weights in heads):
            raise InputError("LPIPS is a distance while no weight of its linear heads is below zero, and one is")
        super().__init__(
            net,
            name=f"lpips-{net.pnet_type}-{size}-{weights_digest(net)}",
            size=size,
            read=_stacked,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),  # [-1, 1], which LPIPS's first layer takes
        )


def lpips_distance(encoder: LpipsEncoder) -> FeatureDistance:
    """LPIPS of images that the encoder resizes; at least 0."""
    return FeatureDistance("lpips", encoder, squared_euclidean)


def lpips_alex(folder: Path) -> LpipsEncoder:
    """LPIPS on AlexNet: linear heads from the package, and AlexNet from `model.pth` of a folder.

    Raises:
        InputError: lpips is not installed, or the file is no AlexNet.
    """
    with hub_extra():
        from lpips import LPIPS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")  # lpips passes `pretrained`
        net = LPIPS(net="alex", pnet_rand=True, verbose=False)
    path = folder / "model.pth"
    # Its slices keep the numbers of torchvision's layers: `slice2.3.weight` is `features.3.weight`.
    published = read_checkpoint(path)
    renamed = {name: f"features.{name.split('.', 1)[1]}" for name in net.net.state_dict()}
    load_exactly(net.net, {ours: published[theirs] for ours, theirs in renamed.items() if theirs in published}, path)
    return LpipsEncoder(net)


def build(folder: Path, *, shape: ImageShape, device: str) -> FeatureDistance:
    """For images of any shape, which it resizes."""
    return lpips_distance(lpips_alex(folder).to(device))


def _stacked(net: Any, shown: Tensor) -> Tensor:
    return stacked(net.net(net.scaling_layer(shown)), [head.model[-1].weight.flatten() for head in net.lins])

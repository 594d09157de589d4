"""The distances that neighbours are ranked by again, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from royalty.models.base.checkpoints import Weights, no_weights
from royalty.models.base.choices import DistanceName
from royalty.models.base.errors import by_name
from royalty.models.base.shapes import ImageShape
from royalty.models.distances.deep import EfficientNetLayers
from royalty.models.distances.distance import Distance, FeatureDistance, euclidean, squared_euclidean
from royalty.models.distances.dreamsim import dreamsim, dreamsim_distance
from royalty.models.distances.lpips import lpips_alex, lpips_distance
from royalty.models.encoders.pixels import PixelEncoder

DISTANCES: Mapping[DistanceName, Callable[[ImageShape, str, Weights], Distance]] = {
    "l2": lambda shape, device, weights: FeatureDistance("l2", PixelEncoder(shape), euclidean),
    "encoder": lambda shape, device, weights: FeatureDistance(
        "encoder", EfficientNetLayers().to(device), squared_euclidean
    ),
    "lpips": lambda shape, device, weights: lpips_distance(lpips_alex(weights("alexnet")).to(device)),
    "dreamsim": lambda shape, device, weights: dreamsim_distance(dreamsim(weights("dreamsim")).to(device)),
}
"""From the shape of the images, `(channels, height, width)`, a torch device, and folders of weights, of which each
takes what it needs.

- `l2`: Euclidean distance of pixels in [0, 1].
- `encoder`: LPIPS's formula on three layers of the embedded EfficientNet-Lite0, without learned weights; in [0, 12].
- `lpips`: LPIPS on AlexNet.
- `dreamsim`: 1 - cosine of DreamSim's embeddings.
"""


def build_distance(name: str, *, shape: ImageShape, device: str = "cpu", weights: Weights = no_weights) -> Distance:
    """The distance of a name, with its default settings, for images of a shape.

    Raises:
        InputError: no distance has this name, it takes weights and none are given, or a package is missing.
    """
    return by_name(name, DISTANCES, "distance")(shape, device, weights)

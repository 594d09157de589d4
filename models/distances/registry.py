"""The distances that neighbours are ranked by again, by name; importing this file does not import torch.

To add a distance, write its builder in a file of this folder, and its line below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from royalty.models.base.errors import by_name
from royalty.models.base.registry import Entry
from royalty.models.base.shapes import ImageShape
from royalty.models.base.weights import Weights, no_weights

if TYPE_CHECKING:
    from royalty.models.distances.distance import Distance

DISTANCES: Mapping[str, Entry] = {
    "encoder": Entry("royalty.models.distances.deep:build", scales=True),
    "l2": Entry("royalty.models.distances.l2:build"),
    "lpips": Entry("royalty.models.distances.lpips:build", ("lpips-alex",), {"network": "alex"}, scales=True),
    "lpips-vgg": Entry("royalty.models.distances.lpips:build", ("lpips-vgg",), {"network": "vgg"}, scales=True),
    "dreamsim": Entry("royalty.models.distances.dreamsim:build", ("dreamsim",)),
}
"""A builder takes the folders of its weights, and by keyword `shape`, `(channels, height, width)`, and `device`, a
torch device. The first distance is the default of properties.

- `encoder`: LPIPS's formula on three layers of the embedded EfficientNet-Lite0, without learned weights; in [0, 12].
- `l2`: Euclidean distance of pixels in [0, 1].
- `lpips`, `lpips-vgg`: LPIPS on AlexNet, and on VGG16.
- `dreamsim`: 1 - cosine of DreamSim's embeddings.
"""


def build_distance(
    name: str,
    *,
    shape: ImageShape,
    device: str = "cpu",
    weights: Weights = no_weights,
    resolution: int | None = None,
) -> Distance:
    """The distance of a name, with its default settings, for images of a shape.

    Args:
        resolution: side in pixels of the square that images are resized to, by distances that take any; see
            `royalty.models.base.resolution`. None: their default.

    Raises:
        InputError: no distance has this name, it takes weights and none are given, or a package is missing.
    """
    distance: Distance = by_name(name, DISTANCES, "distance").build(
        weights, shape=shape, device=device, resolution=resolution
    )
    return distance

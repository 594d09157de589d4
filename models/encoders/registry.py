"""The encoders by name; importing this file does not import torch.

To add an encoder, write its builder in a file of this folder, and its line below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from royalty.models.base.errors import by_name
from royalty.models.base.registry import Entry
from royalty.models.base.shapes import ImageShape
from royalty.models.base.weights import Weights, no_weights

if TYPE_CHECKING:
    from royalty.models.encoders.encoder import Encoder

ENCODERS: Mapping[str, Entry] = {
    "efficientnet-lite0": Entry("royalty.models.encoders.efficientnet:build", scales=True),
    "pixels": Entry("royalty.models.encoders.pixels:build"),
    "clip": Entry("royalty.models.encoders.hub:build_clip", ("clip",)),
    "clip-large": Entry("royalty.models.encoders.hub:build_clip", ("clip-large",)),
    "dinov2": Entry("royalty.models.encoders.hub:build_dinov2", ("dinov2",)),
    "blip-vqa": Entry("royalty.models.encoders.hub:build_blip", ("blip-vqa",)),
    "alexnet": Entry("royalty.models.encoders.hub:build_alexnet", ("alexnet",)),
    "densenet121": Entry("royalty.models.encoders.hub:build_densenet121", ("densenet121",)),
    "inception-v3": Entry("royalty.models.encoders.inception:build", ("inception-v3",)),
}
"""A builder takes the folders of its weights, and by keyword `shape`, `(channels, height, width)`, and `device`, a
torch device. The first encoder is the default of properties."""


def build_encoder(
    name: str,
    *,
    shape: ImageShape,
    device: str = "cpu",
    weights: Weights = no_weights,
    resolution: int | None = None,
) -> Encoder:
    """The encoder of a name, with its default settings, for images of a shape.

    Args:
        resolution: side in pixels of the square that images are resized to, by encoders that take any; see
            `royalty.models.base.resolution`. None: their default.

    Raises:
        InputError: no encoder has this name, it takes weights and none are given, or a package is missing.
    """
    encoder: Encoder = by_name(name, ENCODERS, "encoder").build(
        weights, shape=shape, device=device, resolution=resolution
    )
    return encoder

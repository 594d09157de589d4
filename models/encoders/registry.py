"""The encoders by name: those with embedded weights, and those whose weights are fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from royalty.models.base.checkpoints import Weights, no_weights
from royalty.models.base.choices import EncoderName
from royalty.models.base.errors import by_name
from royalty.models.base.shapes import ImageShape
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.hub import alexnet, blip, clip, densenet121, dinov2
from royalty.models.encoders.inception import inception_v3
from royalty.models.encoders.pixels import PixelEncoder

ENCODERS: Mapping[EncoderName, Callable[[ImageShape, str, Weights], Encoder]] = {
    "efficientnet-lite0": lambda shape, device, weights: EfficientNetLite0().to(device),
    "pixels": lambda shape, device, weights: PixelEncoder(shape),
    "clip": lambda shape, device, weights: clip(weights("clip")).to(device),
    "clip-large": lambda shape, device, weights: clip(weights("clip-large")).to(device),
    "dinov2": lambda shape, device, weights: dinov2(weights("dinov2")).to(device),
    "blip-vqa": lambda shape, device, weights: blip(weights("blip-vqa")).to(device),
    "alexnet": lambda shape, device, weights: alexnet(weights("alexnet")).to(device),
    "densenet121": lambda shape, device, weights: densenet121(weights("densenet121")).to(device),
    "inception-v3": lambda shape, device, weights: inception_v3(weights("inception-v3")).to(device),
}
"""Constructors by name, from the shape of the images, `(channels, height, width)`, a torch device, and folders of
weights."""


def build_encoder(name: str, *, shape: ImageShape, device: str = "cpu", weights: Weights = no_weights) -> Encoder:
    """The encoder of a name, with its default settings, for images of a shape.

    Raises:
        InputError: no encoder has this name, it takes weights and none are given, or a package is missing.
    """
    return by_name(name, ENCODERS, "encoder")(shape, device, weights)

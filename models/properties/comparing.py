"""Feature extraction for properties that compare generated images with a reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.encoders.registry import build_encoder
from royalty.models.properties.property import Context


def feature_reader(context: Context, network: str, *, least: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images to the features of an encoder, float64, `(images, dimensions)`.

    Args:
        network: the name of the encoder.
        least: smallest number of reference images that the property needs.

    Raises:
        InputError: there are fewer reference images; or as for `build_encoder`.
    """
    if len(context.reference) < least:
        raise InputError(
            f"this property needs at least {least} held-out images, and there are {len(context.reference)}; raise "
            "`data.held_out.classifier`, or choose another `property`"
        )
    channels, height, width = context.reference.shape[1:]
    encoder = build_encoder(network, shape=(channels, height, width), device=context.device, weights=context.weights)
    return lambda images: encoder.features(images).astype(np.float64)

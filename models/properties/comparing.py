"""What properties of features have in common: the encoder, and real images to compare with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.encoders.registry import build_encoder
from royalty.models.properties.property import Context


def reader(context: Context, network: str, *, least: int) -> Callable[[np.ndarray], np.ndarray]:
    """From uint8 images to features by the encoder of a name, float64, `(images, dimensions)`.

    Args:
        least: fewest reference images that the property compares with.

    Raises:
        InputError: there are fewer; as `build_encoder`.
    """
    if len(context.reference) < least:
        raise InputError(
            f"this property compares with at least {least} held-out images, and there are {len(context.reference)}; "
            "raise `data.held_out.classifier`, or choose another `property`"
        )
    channels, height, width = context.reference.shape[1:]
    encoder = build_encoder(network, shape=(channels, height, width), device=context.device, weights=context.weights)
    return lambda images: encoder.features(images).astype(np.float64)

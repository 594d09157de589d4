"""The classifiers behind properties that sort images into classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from royalty.models.encoders.inception import inception_v3
from royalty.models.properties.property import Context
from royalty.models.properties.registry import OWN_CLASSIFIER


def reader(context: Context, network: str) -> Callable[[np.ndarray], np.ndarray]:
    """From uint8 images to probabilities of classes, by the context's own classifier or by `inception-v3`."""
    if network == OWN_CLASSIFIER:
        return context.classifier
    return inception_v3(context.weights(network)).to(context.device).probabilities

"""Classifiers of the properties that are computed from class probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from royalty.models.encoders.inception import inception_v3
from royalty.models.properties.property import Context
from royalty.models.properties.registry import OWN_CLASSIFIER


def class_reader(context: Context, network: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images to class probabilities: the classifier of the context, or `inception-v3`."""
    if network == OWN_CLASSIFIER:
        return context.classifier
    return inception_v3(context.weights(network)).to(context.device).probabilities

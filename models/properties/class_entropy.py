"""Entropy of the classes of generated images: does the model make some of everything (eq. 8)?"""

from __future__ import annotations

import math

import numpy as np

from royalty.models.properties.classifying import reader
from royalty.models.properties.property import Context, Property


def build(context: Context, network: str) -> Property:
    """The entropy of classes by a network of `royalty.models.properties.classifying`."""
    return Property(reader(context, network), class_entropy, class_entropy_error, least=1)


def class_entropy(probabilities: np.ndarray) -> float:
    """-sum p_k log p_k, p_k the share of images whose most probable class is k.

    Args:
        probabilities: `(images, classes)`.

    Returns:
        Between 0 and log(classes), in nats; higher is more diverse.
    """
    return entropy(probabilities.argmax(axis=1))


def class_entropy_error(probabilities: np.ndarray) -> float:
    """Its standard error, in nats."""
    return entropy_error(probabilities.argmax(axis=1))


def entropy(kinds: np.ndarray) -> float:
    """Entropy of the shares of each kind, `(images,)` integers from 0 on, in nats."""
    shares = _shares(kinds)
    return float(-(shares * np.log(shares)).sum())


def entropy_error(kinds: np.ndarray) -> float:
    """Standard error of the entropy by the delta method, in nats: sqrt((sum p log^2 p - H^2) / n).

    0 where all shares are equal, the entropy being at its top, and where there is one kind only.
    """
    shares = _shares(kinds)
    variance = float((shares * np.log(shares) ** 2).sum()) - entropy(kinds) ** 2
    return math.sqrt(max(variance, 0.0) / len(kinds))


def _shares(kinds: np.ndarray) -> np.ndarray:
    shares = np.bincount(kinds) / len(kinds)
    return shares[shares > 0]

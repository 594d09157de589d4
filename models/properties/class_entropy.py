"""Entropy of the classes of generated images (eq. 8): are all classes generated?"""

from __future__ import annotations

import math

import numpy as np

from royalty.models.properties.classifying import class_reader
from royalty.models.properties.property import Context, Property


def build(context: Context, network: str) -> Property:
    """The entropy of the classes predicted by a network of `royalty.models.properties.classifying`."""
    return Property(class_reader(context, network), class_entropy, class_entropy_error, least=1)


def class_entropy(probabilities: np.ndarray) -> float:
    """-sum p_k log p_k, where p_k is the share of images whose most probable class is k.

    Args:
        probabilities: `(images, classes)`.

    Returns:
        Between 0 and log(classes), in nats; higher is more diverse.
    """
    return entropy(probabilities.argmax(axis=1))


def class_entropy_error(probabilities: np.ndarray) -> float:
    """Standard error of the class entropy, in nats."""
    return entropy_error(probabilities.argmax(axis=1))


def entropy(kinds: np.ndarray) -> float:
    """Entropy of the shares of classes or clusters, in nats.

    Args:
        kinds: the class or cluster of each image, integers from 0, `(images,)`.
    """
    shares = _shares(kinds)
    return float(-(shares * np.log(shares)).sum())


def entropy_error(kinds: np.ndarray) -> float:
    """Standard error of the entropy by the delta method, in nats: sqrt((sum p log^2 p - H^2) / n).

    It is 0 if all shares are equal, where the entropy has its maximum, and if there is only one kind.
    """
    shares = _shares(kinds)
    variance = float((shares * np.log(shares) ** 2).sum()) - entropy(kinds) ** 2
    return math.sqrt(max(variance, 0.0) / len(kinds))


def _shares(kinds: np.ndarray) -> np.ndarray:
    shares = np.bincount(kinds) / len(kinds)
    return shares[shares > 0]

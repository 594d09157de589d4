"""Inception Score (Salimans et al. 2016): are generated images recognizable, and do they cover all classes?"""

from __future__ import annotations

import numpy as np

from royalty.models.properties.classifying import class_reader
from royalty.models.properties.property import Context, Property, error_of_mean


def build(context: Context, network: str) -> Property:
    """The Inception Score with a network of `royalty.models.properties.classifying`."""
    return Property(class_reader(context, network), inception_score, inception_score_error, least=1)


def inception_score(probabilities: np.ndarray) -> float:
    """exp of the mean KL divergence of the class distribution of each image from their average.

    Args:
        probabilities: `(images, classes)`, rows summing to one.

    Returns:
        Between 1 (the classifier sees no difference between images) and the number of classes; higher is better.
    """
    return float(np.exp(_divergences(probabilities).mean()))


def inception_score_error(probabilities: np.ndarray) -> float:
    """Standard error of the Inception Score by the delta method.

    The average distribution minimizes the sum of divergences, so its sampling error has no effect to first order. Only
    the error of the mean divergence remains.
    """
    divergences = _divergences(probabilities)
    return float(np.exp(divergences.mean())) * error_of_mean(divergences)


def _divergences(probabilities: np.ndarray) -> np.ndarray:
    """KL divergence of each image's class distribution from their average, `(images,)`."""
    marginal = probabilities.mean(axis=0)  # (classes,)
    ratio = np.log(np.maximum(probabilities, 1e-12)) - np.log(np.maximum(marginal, 1e-12))
    divergences: np.ndarray = (probabilities * ratio).sum(axis=1)
    return divergences

"""Inception Score (Salimans et al. 2016): are generated images recognizable, and of every class?"""

from __future__ import annotations

import numpy as np

from royalty.models.properties.classifying import reader
from royalty.models.properties.property import Context, Property, error_of_mean


def build(context: Context, network: str) -> Property:
    """The Inception Score by a network of `royalty.models.properties.classifying`."""
    return Property(reader(context, network), inception_score, inception_score_error, least=1)


def inception_score(probabilities: np.ndarray) -> float:
    """exp of the mean KL divergence from each image's class distribution to their average.

    Args:
        probabilities: `(images, classes)`, rows summing to one.

    Returns:
        Between 1 (every image looks alike to the classifier) and the number of classes; higher is better.
    """
    return float(np.exp(_divergences(probabilities).mean()))


def inception_score_error(probabilities: np.ndarray) -> float:
    """Its standard error by the delta method.

    The average distribution is where the sum of divergences is least, so its own error counts for nothing in the
    first order, and what is left is the exponential of a mean.
    """
    divergences = _divergences(probabilities)
    return float(np.exp(divergences.mean())) * error_of_mean(divergences)


def _divergences(probabilities: np.ndarray) -> np.ndarray:
    """KL divergence of each image's class distribution from their average, `(images,)`."""
    marginal = probabilities.mean(axis=0)  # (classes,)
    ratio = np.log(np.maximum(probabilities, 1e-12)) - np.log(np.maximum(marginal, 1e-12))
    divergences: np.ndarray = (probabilities * ratio).sum(axis=1)
    return divergences

"""Inception Score (Salimans et al. 2016): are generated images recognizable, and of every class?"""

from __future__ import annotations

import numpy as np


def inception_score(probabilities: np.ndarray) -> float:
    """exp of the mean KL divergence from each image's class distribution to their average.

    Args:
        probabilities: `(images, classes)`, rows summing to one.

    Returns:
        Between 1 (every image looks alike to the classifier) and the number of classes; higher is better.
    """
    marginal = probabilities.mean(axis=0)  # (classes,)
    ratio = np.log(np.maximum(probabilities, 1e-12)) - np.log(np.maximum(marginal, 1e-12))
    return float(np.exp((probabilities * ratio).sum(axis=1).mean()))

"""Entropy of the classes of generated images: does the model make some of everything (eq. 8)?"""

from __future__ import annotations

import numpy as np


def class_entropy(probabilities: np.ndarray) -> float:
    """-sum p_k log p_k, p_k the share of images whose most probable class is k.

    Args:
        probabilities: `(images, classes)`.

    Returns:
        Between 0 and log(classes), in nats; higher is more diverse.
    """
    shares = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())

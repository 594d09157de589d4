"""Precision and recall of generated images (Kynkäänniemi et al. 2019)."""

from __future__ import annotations

import math

import numpy as np

from royalty.models.properties.comparing import feature_reader
from royalty.models.properties.property import Context, Property
from royalty.models.quality.realism import realism_scores

K = 3
"""Radii are distances to the K-th nearest other image, as in the paper."""


def precision(context: Context, network: str) -> Property:
    """The share of generated images in the manifold of the reference: do they look real?"""
    read = feature_reader(context, network, least=K + 1)
    reference = read(context.reference)
    return Property(
        lambda images: inside(reference, read(images)), lambda within: float(within.mean()), error_of_share, least=1
    )


def recall(context: Context, network: str) -> Property:
    """The share of the reference in the manifold of generated images: are all real images covered?

    The jackknife error is conservative (Efron and Stein 1981): up to 1.7 times the error over repeated draws of
    Gaussian features, because the radii of neighbours jump when an image is left out.
    """
    read = feature_reader(context, network, least=1)
    reference = read(context.reference)
    return Property(read, lambda features: float(inside(features, reference).mean()), least=K + 1)


def inside(manifold: np.ndarray, features: np.ndarray, *, k: int = K) -> np.ndarray:
    """Which features lie in the manifold of other features, within the radius r_i of any image i (eq. 1).

    Args:
        manifold: `(images, dimensions)`, more than k images; r_i is the distance of image i to its k-th nearest other.
        features: `(others, dimensions)`.

    Returns:
        bool, `(others,)`.
    """
    within: np.ndarray = realism_scores(manifold, features, k=k, counted=1.0) >= 1
    return within


def error_of_share(within: np.ndarray) -> float:
    """Standard error of a share, with two images added inside and outside (Agresti and Coull 1998); never 0."""
    shrunk = (within.sum() + 2) / (len(within) + 4)
    return math.sqrt(shrunk * (1 - shrunk) / (len(within) + 4))

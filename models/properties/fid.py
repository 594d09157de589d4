"""Fréchet inception distance (Heusel et al. 2017): are generated images distributed like real ones?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.properties.comparing import feature_reader
from royalty.models.properties.property import Context, Property

MIN_IMAGES = 2
"""Smallest number of images with a covariance."""


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of features.

    Attributes:
        mean: `(dimensions,)`.
        factor: `(at most dimensions, dimensions)`; the covariance is `factor.T @ factor`.
    """

    mean: np.ndarray
    factor: np.ndarray


def build(context: Context, network: str) -> Property:
    """Minus the FID to the reference in an encoder's features; its standard error by the jackknife.

    The FID is biased upwards, and the bias falls with the number of images, so only models with equal numbers of images
    can be compared.
    """
    read = feature_reader(context, network, least=MIN_IMAGES)
    reference = gaussian(read(context.reference))
    return Property(read, lambda features: -frechet_distance(gaussian(features), reference), least=MIN_IMAGES)


def gaussian(features: np.ndarray) -> Gaussian:
    """The mean and unbiased covariance of features, `(images, dimensions)`."""
    mean = features.mean(axis=0)
    factor = (features - mean) / np.sqrt(len(features) - 1)
    if len(factor) > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")
    return Gaussian(mean, factor)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2), eq. 6; at least 0 up to rounding, in squared units of the features.

    With C = A^T A and C' = B^T B, the nonzero eigenvalues of C C' are those of (A B^T)^T (A B^T). The trace of the root
    is therefore the sum of the singular values of A B^T. This is exact for singular covariances, as of few images, too.
    """
    means = np.square(first.mean - second.mean).sum()
    traces = np.square(first.factor).sum() + np.square(second.factor).sum()
    root_trace = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum()
    return float(means + traces - 2 * root_trace)

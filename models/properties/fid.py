"""Fréchet inception distance (Heusel et al. 2017): are generated images spread as real ones are?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.properties.comparing import reader
from royalty.models.properties.property import Context, Property

LEAST = 2
"""Images that have a covariance."""


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of features.

    Attributes:
        mean: `(dimensions,)`.
        factor: `(at most dimensions, dimensions)`; its product with itself, `factor.T @ factor`, is the covariance.
    """

    mean: np.ndarray
    factor: np.ndarray


def build(context: Context, network: str) -> Property:
    """Minus the FID to the reference in an encoder's features; its error by the jackknife.

    The FID of few images is too high by a bias that falls with their number, so it compares models by equal numbers
    of images only.
    """
    read = reader(context, network, least=LEAST)
    reference = gaussian(read(context.reference))
    return Property(read, lambda features: -frechet_distance(gaussian(features), reference), least=LEAST)


def gaussian(features: np.ndarray) -> Gaussian:
    """The unbiased moments of features, `(images, dimensions)`."""
    mean = features.mean(axis=0)
    factor = (features - mean) / np.sqrt(len(features) - 1)
    if len(factor) > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")
    return Gaussian(mean, factor)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2), eq. 6; at least 0 but for rounding, in squared units of the features.

    With C = A^T A and C' = B^T B, the eigenvalues of C C' other than 0 are those of (A B^T)^T (A B^T), so the trace of
    the root is the sum of singular values of A B^T: exact where covariances are singular, as those of few images are.
    """
    apart = np.square(first.mean - second.mean).sum()
    spread = np.square(first.factor).sum() + np.square(second.factor).sum()
    shared = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum()
    return float(apart + spread - 2 * shared)

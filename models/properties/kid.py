"""Kernel inception distance (Bińkowski et al. 2018): like FID, but unbiased."""

from __future__ import annotations

import math

import numpy as np

from royalty.models.properties.comparing import feature_reader
from royalty.models.properties.property import Context, Property

TILE = 1024
"""Rows of the kernel matrix that are computed at a time."""


def build(context: Context, network: str) -> Property:
    """Minus the KID to the reference in an encoder's features, computed from all images in one block."""
    read = feature_reader(context, network, least=2)
    reference = read(context.reference)
    within = _mean_of_pairs(reference)
    return Property(
        read,
        lambda features: -(within + _mean_of_pairs(features) - 2 * _means(features, reference).mean()),
        lambda features: kid_error(features, reference),
    )


def kid(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / dimensions + 1)^3.

    Args:
        first, second: features, float64, `(images, dimensions)`, at least two images each.

    Returns:
        An estimate with mean 0 for two samples of the same distribution, so it can be negative; lower is more similar.
    """
    return _mean_of_pairs(first) + _mean_of_pairs(second) - 2 * float(_means(first, second).mean())


def kid_error(generated: np.ndarray, reference: np.ndarray) -> float:
    """Standard error of the KID over draws of the generated images: 2 std(h) / sqrt(n).

    h_i is the mean kernel between image i and the other generated images minus its mean kernel with the reference, the
    first-order term of Hoeffding's decomposition. The error is conservative where h is mostly noise.
    """
    within = (_sums(generated, generated) - _self(generated)) / (len(generated) - 1)
    return 2 * float((within - _means(generated, reference)).std(ddof=1)) / math.sqrt(len(generated))


def _mean_of_pairs(features: np.ndarray) -> float:
    """Mean kernel over all pairs of different images."""
    pairs = len(features) * (len(features) - 1)
    return float((_sums(features, features).sum() - _self(features).sum()) / pairs)


def _means(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Mean kernel of each image in `left` with all images in `right`, `(left,)`."""
    return _sums(left, right) / len(right)


def _self(features: np.ndarray) -> np.ndarray:
    """Kernel of each image with itself, `(images,)`."""
    kernels: np.ndarray = (np.square(features).mean(axis=1) + 1) ** 3
    return kernels


def _sums(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sum of the kernels of each image in `left` with all images in `right`, `(left,)`."""
    sums = np.empty(len(left))
    for start in range(0, len(left), TILE):
        rows = slice(start, start + TILE)
        sums[rows] = ((left[rows] @ right.T / left.shape[1] + 1) ** 3).sum(axis=1)  # (tile, right)
    return sums

"""Kernel inception distance (Bińkowski et al. 2018): FID's question, answered without bias."""

from __future__ import annotations

import math

import numpy as np

from royalty.models.properties.comparing import reader
from royalty.models.properties.property import Context, Property

TILE = 1024
"""Rows of the kernel matrix that are held at a time."""


def build(context: Context, network: str) -> Property:
    """Minus the KID to the reference in an encoder's features, all images in one block."""
    read = reader(context, network, least=2)
    reference = read(context.reference)
    within = _mean_of_pairs(reference)
    return Property(
        read,
        lambda features: -(within + _mean_of_pairs(features) - 2 * _means(features, reference).mean()),
        lambda features: kid_error(features, reference),
    )


def kid(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy by the kernel (x.y / dimensions + 1)^3.

    Args:
        first, second: features, float64, `(images, dimensions)`, at least two of each.

    Returns:
        0 on average for two draws of one distribution, so below 0 at times; lower is more alike.
    """
    return _mean_of_pairs(first) + _mean_of_pairs(second) - 2 * float(_means(first, second).mean())


def kid_error(generated: np.ndarray, reference: np.ndarray) -> float:
    """Standard error of the KID over draws of the generated images: 2 std(h) / sqrt(n).

    h_i is the mean of kernels between image i and the other generated images less that with the reference, the first
    term of Hoeffding's decomposition. Of as many images as there are, it is on the safe side where h is all noise.
    """
    own = (_sums(generated, generated) - _self(generated)) / (len(generated) - 1)
    return 2 * float((own - _means(generated, reference)).std(ddof=1)) / math.sqrt(len(generated))


def _mean_of_pairs(features: np.ndarray) -> float:
    """Mean kernel of an image and another one."""
    others = len(features) * (len(features) - 1)
    return float((_sums(features, features).sum() - _self(features).sum()) / others)


def _means(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return _sums(left, right) / len(right)


def _self(features: np.ndarray) -> np.ndarray:
    """Kernel of each image with itself, `(images,)`."""
    kernels: np.ndarray = (np.square(features).mean(axis=1) + 1) ** 3
    return kernels


def _sums(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sum of the kernels of each image of the left with all of the right, `(left,)`."""
    sums = np.empty(len(left))
    for start in range(0, len(left), TILE):
        rows = slice(start, start + TILE)
        sums[rows] = ((left[rows] @ right.T / left.shape[1] + 1) ** 3).sum(axis=1)  # (tile, right)
    return sums

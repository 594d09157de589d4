"""Quality of generated images by how far they lie from training images that lie close together among themselves.

This is the simplified local outlier factor (Schubert et al. 2014), inverted. Realism takes the best of all training
images, and one image in a sparse region makes every image near it look real; here the nearest few are averaged.
"""

from __future__ import annotations

import numpy as np

from royalty.models.base.checks import check_features
from royalty.models.base.errors import InputError
from royalty.models.valuation.exact import Exact

NEIGHBOURS = 5
"""Nearest training images whose mean distance counts."""


class LocalDensity:
    """The training images and the mean distances to their own neighbours, computed once.

    Args:
        features: features of the training images, `(items, dimensions)`, not normalized: their lengths matter.
        k: neighbours, from 1 to the number of training images minus 1.

    Raises:
        InputError: `k` is out of range.
    """

    def __init__(self, features: np.ndarray, *, k: int = NEIGHBOURS) -> None:
        if not 1 <= k < len(features):
            raise InputError(
                f"`k` is from 1 to the number of other training images, {len(features) - 1}; got {k}. Use {NEIGHBOURS}"
            )
        self.k, self.exact = k, Exact(features)
        # The nearest item is the item itself, or its copy.
        self.own = self.exact.search(features, k + 1)[0][:, 1:].mean(axis=1)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Scores of generated images with these features, `(generated, dimensions)`; see `density_scores`."""
        distances, rows = self.exact.search(features, self.k)
        mean, usual = distances.mean(axis=1), self.own[rows].mean(axis=1)
        scores: np.ndarray = np.divide(usual, mean, out=np.ones(len(mean)), where=mean > usual)
        return scores


def density_scores(train_features: np.ndarray, generated_features: np.ndarray, *, k: int = NEIGHBOURS) -> np.ndarray:
    """How far the k nearest training images are from their own k nearest, over how far they are from the image.

    Args:
        train_features: `(items, dimensions)`, not normalized: their lengths matter.
        generated_features: `(generated, dimensions)`.
        k: neighbours.

    Returns:
        float64, `(generated,)`, in [0, 1], higher is better; 1 for an image as near to its neighbours as they are to
        theirs, or nearer.

    Raises:
        InputError: the features are empty, not finite or of different dimensions, or `k` is out of range.
    """
    check_features(train_features, generated_features, title="generated")
    return LocalDensity(train_features, k=k).scores(generated_features)

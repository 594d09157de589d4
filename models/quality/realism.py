"""Quality of generated images without a trained metric: the realism score (Kynkäänniemi et al. 2019)."""

from __future__ import annotations

import numpy as np

from royalty.models.base.checks import check_features
from royalty.models.base.errors import InputError
from royalty.models.valuation.exact import Exact

MAX_SCORE = 1e6
"""Score of an exact copy of a training image; its distance of zero would give an infinite score."""

TILE = 2048
"""Side of the tiles in which the distances between generated and training images are computed."""


class Manifold:
    """The training images and their radii, computed once for any number of generated images.

    Args:
        features: features of the training images, `(items, dimensions)`, not normalized: their lengths matter.
        k: which nearest neighbour defines a radius, from 1 to the number of training images minus 1.
        counted: the share of training images, those with the smallest radii, that are used.

    Raises:
        InputError: `k` is out of range.
    """

    def __init__(self, features: np.ndarray, *, k: int = 3, counted: float = 0.5) -> None:
        if not 1 <= k < len(features):
            raise InputError(
                f"`k` is from 1 to the number of other training images, {len(features) - 1}; got {k}. Use 3"
            )
        self.exact = Exact(features)
        radii = _radii(self.exact, features, k)
        used = np.flatnonzero(radii <= np.quantile(radii, counted))
        self.real, self.radii = self.exact.vectors[used], radii[used].astype(np.float32)
        self.squares = self.exact.squares[used]

    def realism(self, features: np.ndarray) -> np.ndarray:
        """Scores of generated images with these features, `(generated, dimensions)`; see `realism_scores`."""
        scores = np.empty(len(features))
        for start in range(0, len(scores), TILE):
            images = slice(start, min(start + TILE, len(scores)))
            scores[images] = _best(self.exact.centred(features[images]), self.real, self.squares, self.radii)
        return scores


def realism_scores(
    train_features: np.ndarray, generated_features: np.ndarray, *, k: int = 3, counted: float = 0.5
) -> np.ndarray:
    """max over i of r_i / |g - x_i| (eq. 3): how far inside the manifold of the training images g lies.

    r_i is the distance from training image i to its k-th nearest other training image. By default only images whose
    r_i is not above the median are used: in sparse regions, the large r_i would rate any image as real (section 3.3).

    Args:
        train_features: `(items, dimensions)`, not normalized: their lengths matter.
        generated_features: `(generated, dimensions)`.
        k: which nearest neighbour defines r_i, from 1 to the number of training images minus 1.
        counted: the share of training images, those with the smallest r_i, that are used; above 0, at most 1. Precision
            and recall use all.

    Returns:
        float64, `(generated,)`, in [0, 1e6], higher is more realistic. A score of at least 1 means that g lies within
        r_i of some image i. An exact copy of a used image has 1e6, or any score from 1 on if that image's r_i is 0.

    Raises:
        InputError: the features are empty, not finite or of different dimensions, or `k` is out of range.
    """
    check_features(train_features, generated_features, title="generated")
    return Manifold(train_features, k=k, counted=counted).realism(generated_features)


def quality_of(realism: np.ndarray) -> np.ndarray:
    """min(realism, 1), in [0, 1]: 1 inside the manifold, and lower with the distance from it."""
    quality: np.ndarray = np.minimum(realism, 1.0)
    return quality


def _radii(exact: Exact, features: np.ndarray, k: int) -> np.ndarray:
    """Distances to the k-th nearest other item, float64; the nearest item is always the item itself or its copy."""
    radii = np.empty(len(features))
    for start in range(0, len(radii), TILE):
        rows = slice(start, min(start + TILE, len(radii)))
        radii[rows] = exact.search(features[rows], k + 1)[0][:, k]
    return radii


def _best(images: np.ndarray, real: np.ndarray, squares: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Largest ratio of radius to distance of each image.

    The best training image is selected by distances from |q|^2 + |x|^2 - 2 q.x, which round; the ratio returned is
    computed from q - x.
    """
    image_squares = np.square(images).sum(axis=1)[:, None]
    best, best_row = np.zeros(len(images), dtype=np.float32), np.zeros(len(images), dtype=np.int64)
    for start in range(0, len(real), TILE):
        rows = slice(start, start + TILE)
        squared = image_squares + squares[rows] - 2 * images @ real[rows].T  # (images, tile)
        rounding = np.finfo(np.float32).eps * (image_squares + squares[rows]) + np.finfo(np.float32).tiny
        ratios = np.maximum(np.square(radii[rows]), rounding) / np.maximum(squared, rounding)
        nearest = ratios.argmax(axis=1)
        largest = np.take_along_axis(ratios, nearest[:, None], axis=1)[:, 0]
        better = largest > best
        best[better], best_row[better] = largest[better], start + nearest[better]
    distances = np.linalg.norm(images.astype(np.float64) - real[best_row], axis=1)
    scores = np.full(len(images), MAX_SCORE)
    np.divide(radii[best_row], distances, out=scores, where=distances > 0)
    return scores.clip(max=MAX_SCORE)

"""Quality of generated images without a trained judge: the realism score (Kynkäänniemi et al. 2019)."""

from __future__ import annotations

import numpy as np

from royalty.models.base.checks import check_features
from royalty.models.base.errors import InputError
from royalty.models.valuation.exact import Exact

MOST = 1e6
"""Score of an exact copy of a training image, whose distance of zero would give infinity."""

TILE = 2048
"""Generated images, and training images, of which the distances are held at a time."""


class Manifold:
    """What realism compares with, computed once for any number of generated images.

    Args:
        features: of the training images, `(items, dimensions)`, as the encoder gives them: lengths are compared too.
        k: from 1 to the number of training items less one.
        counted: share of the training items, those of the smallest radii, that are compared with.

    Raises:
        InputError: k out of range.
    """

    def __init__(self, features: np.ndarray, *, k: int = 3, counted: float = 0.5) -> None:
        if not 1 <= k < len(features):
            raise InputError(f"k counts other training images, of which there are {len(features) - 1}; got {k}. Take 3")
        self.exact = Exact(features)
        radii = _radii(self.exact, features, k)
        kept = np.flatnonzero(radii <= np.quantile(radii, counted))
        self.real, self.radii = self.exact.vectors[kept], radii[kept].astype(np.float32)
        self.lengths = self.exact.squares[kept]

    def realism(self, features: np.ndarray) -> np.ndarray:
        """Scores of generated images, `(generated, dimensions)`, as of `realism_scores`."""
        scores = np.empty(len(features))
        for start in range(0, len(scores), TILE):
            images = slice(start, min(start + TILE, len(scores)))
            scores[images] = _best(self.exact.centred(features[images]), self.real, self.lengths, self.radii)
        return scores


def realism_scores(
    train_features: np.ndarray, generated_features: np.ndarray, *, k: int = 3, counted: float = 0.5
) -> np.ndarray:
    """max over i of r_i / |g - x_i| (eq. 3): how far inside the manifold of the training images g lies.

    r_i is the distance of training image i to its k-th nearest other one. Only the half of the images with the
    smallest r_i count, those whose r_i is not above the median: where images are sparse, large r_i would call
    everything real (section 3.3).

    Args:
        train_features: `(items, dimensions)`, as the encoder gives them: lengths are compared too.
        generated_features: `(generated, dimensions)`.
        k: from 1 to the number of training items less one.
        counted: the share of training images, those of smallest r_i, that count, above 0 to 1; precision and recall
            take all.

    Returns:
        float64, `(generated,)`, in [0, 1e6], higher is more real; from 1 on, g lies within r_i of some image i. An
        exact copy of an image that counts has 1e6, or any score from 1 on where that image's r_i is 0.

    Raises:
        InputError: features that are not finite, empty or of different dimensions; k out of range.
    """
    check_features(train_features, generated_features, title="generated")
    return Manifold(train_features, k=k, counted=counted).realism(generated_features)


def quality_of(realism: np.ndarray) -> np.ndarray:
    """min(realism, 1), in [0, 1]: full quality inside the manifold, less with the distance from it."""
    quality: np.ndarray = np.minimum(realism, 1.0)
    return quality


def _radii(exact: Exact, features: np.ndarray, k: int) -> np.ndarray:
    """Distances to the k-th nearest other item, float64; the nearest of all is the item itself, or its copy."""
    radii = np.empty(len(features))
    for start in range(0, len(radii), TILE):
        rows = slice(start, min(start + TILE, len(radii)))
        radii[rows] = exact.search(features[rows], k + 1)[0][:, k]
    return radii


def _best(images: np.ndarray, real: np.ndarray, lengths: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Largest radius over distance for each image: found among rounded distances, then computed from q - x."""
    own = np.square(images).sum(axis=1)[:, None]
    best, place = np.zeros(len(images), dtype=np.float32), np.zeros(len(images), dtype=np.int64)
    for start in range(0, len(real), TILE):
        rows = slice(start, start + TILE)
        squared = own + lengths[rows] - 2 * images @ real[rows].T  # (images, tile)
        rounding = np.finfo(np.float32).eps * (own + lengths[rows]) + np.finfo(np.float32).tiny
        ratios = np.maximum(np.square(radii[rows]), rounding) / np.maximum(squared, rounding)
        nearest = ratios.argmax(axis=1)
        largest = np.take_along_axis(ratios, nearest[:, None], axis=1)[:, 0]
        better = largest > best
        best[better], place[better] = largest[better], start + nearest[better]
    apart = np.linalg.norm(images.astype(np.float64) - real[place], axis=1)
    scores = np.full(len(images), MOST)
    np.divide(radii[place], apart, out=scores, where=apart > 0)
    return scores.clip(max=MOST)

"""Parts of single images in the credit of their contributor: Owen values of a game that needs no training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_features, as_vector
from royalty.models.base.errors import InputError

TILE_BYTES = 64 * 2**20
"""Memory for the distances between all images and a tile of references."""


@dataclass(frozen=True)
class ImageParts:
    """Owen values of the coverage game.

    Attributes:
        values: of each image, `(images,)`, at least 0; higher is better.
        shares: the part of each image in its contributor, `(images,)`, in [0, 1]; a contributor's images sum to 1.
        scale: the distance at which similarity is exp(-1/2), in units of the features.
        seen_by: references that each contributor's images are compared with, `(contributors,)`.
    """

    values: np.ndarray
    shares: np.ndarray
    scale: float
    seen_by: np.ndarray


def image_parts(
    features: ArrayLike,
    owners: ArrayLike,
    references: ArrayLike,
    provided: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImageParts:
    """Divide contributors among their images by Owen values (Owen 1977) of how well sets of images cover references.

    The value of a set of images S is the mean over references j of max_{i in S} s_ij, the similarity of the closest
    image, with s_ij = w_i exp(-|x_i - y_j|^2 / (2 h^2)), h^2 the median over references of the least squared distance.
    The Owen value has a closed form, as that of landing fees has (Vazquez-Brage, van den Nouweland and Garcia-Jurado
    1997). With images ranked by similarity to j, s_1 >= s_2 >= ..., T_r the first r, U_r the number of contributors who
    have an image in T_r, and N_r of them in T_r by the contributor of image i:

        value_i = mean over j of the sum over r with i in T_r of (s_r - s_{r+1}) / (U_r N_r).

    To a contributor's images, the references that this contributor provided do not count: nobody's bad images are
    covered by others of the same kind from the same source.

    Args:
        features: `(images, dimensions)`.
        owners: the contributor of each image, `(images,)`, from 0. An image of several contributors has a row for each.
        references: features of images that nobody trained on, `(references, dimensions)`.
        provided: bool, `(references, contributors)`, who provided each reference.
        weights: w, `(images,)`, in [0, 1], such as the probability that an image shows its label; None: 1.
        progress: called with the number of references done since the last call.

    Returns:
        Values and shares. A contributor's images whose values are all 0, or who provided all references, have equal
        shares.

    Raises:
        InputError: no images or references; shapes that do not fit; weights outside [0, 1].
    """
    items, points = as_features(features, "features"), as_features(references, "references")
    owner, brought = np.asarray(owners), np.asarray(provided, dtype=bool)
    weight = np.ones(len(items)) if weights is None else as_vector(weights, "weights")
    _check(items, points, owner, brought, weight)
    centre = items.mean(axis=0)  # keeps the cancellation in |x|^2 - 2 xy + |y|^2 small
    together = np.argsort(owner, kind="stable")
    items, points, weight, owner = (items - centre)[together], points - centre, weight[together], owner[together]
    nearest = np.concatenate([tile.min(axis=1) for tile in _squared_distances(items, points)])
    scale = float(np.median(nearest)) or float(nearest.mean()) or 1.0  # 1: every reference is among the images
    counts = np.bincount(owner, minlength=brought.shape[1])
    values, done = np.zeros(len(items)), 0
    for tile in _squared_distances(items, points):
        for similarity in weight * np.exp(tile / (-2 * scale)):
            parts = _owen_of_coverage(similarity, owner, counts)
            parts[brought[done][owner]] = 0.0
            values += parts
            done += 1
        if progress is not None:
            progress(len(tile))
    seen_by = len(points) - brought.sum(axis=0)
    values /= np.maximum(seen_by, 1)[owner]
    sums = np.bincount(owner, values, len(counts))[owner]
    shares = np.where(sums > 0, values / np.where(sums > 0, sums, 1.0), 1 / counts[owner])
    back = np.argsort(together)
    return ImageParts(values[back], shares[back], float(np.sqrt(scale)), seen_by)


def divide_credit(shares: ArrayLike, owners: ArrayLike, credit: ArrayLike) -> np.ndarray:
    """Divide each contributor's credit c among n images with shares p: |c| p + (c - |c|) / n.

    Credit of at least 0 is divided in proportion to the shares. Negative credit is divided so that an image of higher
    share is charged less: shares are mirrored at the equal one, c (2 / n - p). No credit is no credit for each image.

    Args:
        shares: of `ImageParts`, `(images,)`.
        owners: the contributor of each image, `(images,)`, from 0.
        credit: of contributors, in any unit.

    Returns:
        float64, `(images,)`, in units of the credit; a contributor's images sum to the credit, but for rounding.
    """
    owner, whole, part = np.asarray(owners), as_vector(credit, "credit"), as_vector(shares, "shares")
    below = np.minimum(whole, 0.0) / np.maximum(np.bincount(owner, minlength=len(whole)), 1)
    divided: np.ndarray = np.abs(whole)[owner] * part + 2 * below[owner]
    return divided


def _owen_of_coverage(similarity: np.ndarray, owner: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Owen values of max_{i in S} s_i for one reference, `(images,)`.

    Args:
        owner: contributors of the images, ascending; `counts` has the number of images of each.
    """
    order = np.argsort(-similarity, kind="stable")
    ranked = owner[order]
    new = np.zeros(len(order))
    new[np.unique(ranked, return_index=True)[1]] = 1.0  # the first image of each contributor
    gains = -np.diff(similarity[order], append=0.0) / np.cumsum(new)  # (s_r - s_{r+1}) / U_r
    beyond = np.cumsum(gains[::-1])[::-1]  # of all ranks from r on
    by_owner = np.argsort(ranked, kind="stable")  # ranks of the images of each contributor, best first
    own, sizes = beyond[by_owner], counts[counts > 0]
    last = np.cumsum(sizes) - 1
    following = np.append(own[1:], 0.0)
    following[last] = 0.0
    place = np.arange(len(own)) - np.repeat(last + 1 - sizes, sizes) + 1  # N_r between an image and the next one
    terms = (own - following) / place
    # The sum of a contributor's terms from each image on.
    sums = np.cumsum(terms[::-1])[::-1]
    values = np.empty_like(sums)
    values[order[by_owner]] = np.maximum(sums - np.repeat(np.append(sums[last[:-1] + 1], 0.0), sizes), 0.0)
    return values


def _squared_distances(items: np.ndarray, points: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances in tiles of references, float64, `(references of the tile, images)`."""
    squares = np.square(items).sum(axis=1, dtype=np.float64)
    size = max(1, TILE_BYTES // (8 * len(items)))
    for start in range(0, len(points), size):
        tile = points[start : start + size]
        lengths = np.square(tile).sum(axis=1, keepdims=True, dtype=np.float64)
        yield np.maximum(squares - 2 * (tile @ items.T) + lengths, 0.0)


def _check(items: np.ndarray, points: np.ndarray, owner: np.ndarray, provided: np.ndarray, weights: np.ndarray) -> None:
    if items.ndim != 2 or points.ndim != 2 or items.shape[1:] != points.shape[1:] or not len(items) or not len(points):
        raise InputError(
            f"features of images and references are matrices of the same width, with a row at least; got {items.shape} "
            f"and {points.shape}. Embed both by one encoder"
        )
    if not (np.isfinite(items).all() and np.isfinite(points).all()):
        raise InputError("features are finite numbers, and some are not; leave these images out")
    if provided.ndim != 2 or len(provided) != len(points):
        raise InputError(
            f"`provided` has a row for each of {len(points)} references and a column for each contributor; got shape "
            f"{provided.shape}. Give the contributors of each reference"
        )
    if owner.shape != (len(items),) or owner.min() < 0 or owner.max() >= provided.shape[1]:
        raise InputError(
            f"each of {len(items)} images has a contributor from 0 to {provided.shape[1] - 1}; got {owner.shape}, "
            f"{owner.min(initial=0)} to {owner.max(initial=0)}. Number contributors as the columns of `provided`"
        )
    if weights.shape != (len(items),) or not ((weights >= 0) & (weights <= 1)).all():
        raise InputError(
            f"`weights` are {len(items)} numbers from 0 to 1; got {weights.shape} of them, {weights.min(initial=1)} to "
            f"{weights.max(initial=0)}. Give probabilities"
        )

"""Find near copies of images: cut out, mirrored, moved, recoloured, or compressed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.data.alignment import PAIRS, luminance_of, similarity
from royalty.models.data.hashes import nearest_hashes
from royalty.models.valuation.neighbours import Index, build_index

LEAST, MOST = 0.75, 0.95
"""Between these is the similarity of edges from which two images are copies. `tests.benchmarks.copies` measures how
many copies are found, and how many other images are taken for copies; few copies reach more than 0.95."""

DEVIATIONS = 6
"""Standard deviations above the similarity of different images that copies have at least. Digits resemble each other
more than photographs do, and would otherwise be taken for copies."""

RANDOM = 2000
"""Pairs drawn at random to measure that similarity; few of them are copies, even if many copies were uploaded."""

ABOVE = 0.8413
"""The quantile one standard deviation above the median of a normal distribution."""

NEAREST = 6
"""Images of nearest features that are candidates of each image."""


@dataclass(frozen=True)
class NearCopies:
    """Groups of near copies.

    Attributes:
        groups: int64, `(items,)`, the lowest row of the group of each item; an item without copies is its own group.
        pairs: int64, `(pairs, 2)`, rows of the images that were found to be copies of each other, lower row first.
        similarity: float32, `(pairs,)`, of these pairs, from `alike` to 1.
        alike: similarity from which a pair are copies.
    """

    groups: np.ndarray
    pairs: np.ndarray
    similarity: np.ndarray
    alike: float


def near_copy_groups(
    images: np.ndarray,
    features: np.ndarray | None = None,
    *,
    index: Index | None = None,
    alike: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> NearCopies:
    """Group images that are near copies of each other.

    Candidates are the images of nearest perceptual hash, also of the mirrored image, and those of nearest features. A
    pair of candidates are copies if their edges correlate at some alignment; see `royalty.models.data.alignment`. A
    copy of a copy is in the group, so that a chain of small changes does not leave it.

    Args:
        images: uint8, `(items, 1 or 3, height, width)`.
        features: `(items, dimensions)`, by an encoder that recognizes an image that was cut out; None: candidates by
            hash only, which finds neither cut out nor moved images.
        index: of `build_index` on the same features; by default built here.
        alike: similarity from which a pair are copies, in (0, 1]; None: six standard deviations above the median of
            pairs of these images drawn at random, from 0.75 to 0.95.
        progress: called with the number of pairs compared since the last call.

    Raises:
        InputError: `alike` is out of range, or features of other items.
    """
    if alike is not None and not 0 < alike <= 1:
        raise InputError(f"images are copies from a similarity in (0, 1]; got {alike}. Leave it out")
    if features is not None and len(features) != len(images):
        raise InputError(f"each image has features; got {len(images)} images and {len(features)} rows of features")
    items = len(images)
    luminance = luminance_of(images)
    least = copies_from(items, lambda rows: luminance[torch.from_numpy(rows)]) if alike is None else alike
    candidates = [nearest_hashes(luminance.numpy())]
    if features is not None and items > 1:
        built = build_index(features) if index is None else index
        rows = built.search(features, min(NEAREST + 1, items))[1]
        candidates.append((np.repeat(np.arange(items), rows.shape[1]), rows.ravel()))
    one, other = (np.concatenate(side) for side in zip(*candidates, strict=True))
    left, right = _unordered(one, other, items)
    scores = np.empty(len(left), dtype=np.float32)
    for start in range(0, len(left), PAIRS):
        pairs = slice(start, min(start + PAIRS, len(left)))
        scores[pairs] = similarity(luminance, left[pairs], right[pairs])
        if progress is not None:
            progress(pairs.stop - start)
    found = scores >= least
    return NearCopies(
        groups=connected(left[found], right[found], items),
        pairs=np.stack([left[found], right[found]], axis=1),
        similarity=scores[found],
        alike=least,
    )


def copies_from(items: int, luminance: Callable[[np.ndarray], Tensor]) -> float:
    """The similarity from which images of a set are copies, from 0.75 to 0.95, by pairs drawn at random.

    Args:
        luminance: from rows to the result of `luminance_of` for them.
    """
    generator = np.random.default_rng(0)
    pairs = generator.integers(items, size=(2, RANDOM))
    rows, places = np.unique(pairs[:, pairs[0] != pairs[1]], return_inverse=True)
    if not len(rows):
        return LEAST
    left, right = places.reshape(2, -1)
    apart = similarity(luminance(rows), left, right)
    median, above = np.quantile(apart, [0.5, ABOVE])
    return float(np.clip(median + DEVIATIONS * (above - median), LEAST, MOST))


def _unordered(left: np.ndarray, right: np.ndarray, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Each pair of different rows once, the lower row first."""
    lower, upper = np.minimum(left, right), np.maximum(left, right)
    keys = np.unique((lower * items + upper)[lower < upper])
    return keys // items, keys % items


def connected(left: np.ndarray, right: np.ndarray, items: int) -> np.ndarray:
    """The lowest row that each row is connected to, int64, `(items,)`."""
    graph = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(items, items))
    _, numbers = connected_components(graph, directed=False)
    _, first = np.unique(numbers, return_index=True)  # components are numbered from 0
    lowest: np.ndarray = first[numbers].astype(np.int64)
    return lowest

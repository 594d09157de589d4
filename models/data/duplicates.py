"""Find near duplicates: images that differ by noise only, such as recompressed files."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array, triu

from royalty.models.data.within import pairs_within

NEAR = 0.02
"""Largest root mean square difference of near duplicates, as a fraction of the pixel range."""

GRID = 4
"""Blocks per side whose means are compared first."""

TOLERANCE = 1e-3
"""Slack of the reach in which pairs are sought, relative, for rounding of their projections."""

NUMBERS = 32_000_000
"""Numbers held in memory at a time."""


def near_owners(images: np.ndarray, membership: np.ndarray | csr_array, places: np.ndarray | None = None) -> csr_array:
    """The contributors of each item and of its near duplicates: bool, `(items, contributors)`.

    No pair is missed. The distance of two images is at least the distance of their block means weighted by the root of
    the block size (Jensen). Along the main directions of these, `royalty.models.data.within` finds the pairs that can
    be near; only those are compared in full. Rotated, mirrored, cropped or brightened copies are not near.

    Args:
        images: uint8, `(any number, channels, height, width)`; may be a memory map.
        membership: bool, `(items, contributors)`; an array of scipy for many contributors.
        places: positions of the items in `images`, `(items,)`; None: all, in order.
    """
    owned = csr_array(membership).astype(np.float32)
    owned.sort_indices()
    places = np.arange(owned.shape[0]) if places is None else places
    pixels = int(np.prod(images.shape[1:]))
    reach = NEAR * np.sqrt(pixels)  # as a Euclidean distance
    blocks = _blocks(images, places, GRID)  # (items, blocks)
    blocks -= blocks.mean(axis=0)
    _, axes = np.linalg.eigh(blocks.T @ blocks)
    owners, pairs = _owner_groups(owned), []
    for left, right in pairs_within(blocks @ axes[:, ::-1], reach * (1 + TOLERANCE)):
        several = owners[left] != owners[right]
        pairs += _near_pairs(images, places, left[several], right[several], reach)
    left, right = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), np.int64)
    near = csr_array((np.ones(len(left), np.float32), (left, right)), shape=(len(places), len(places)))
    reached = owned + near @ owned + near.T @ owned
    return csr_array(reached > 0)


def near_copies(near: csr_array, membership: np.ndarray | csr_array) -> list[tuple[int, int, int]]:
    """Pairs of contributors with images that are near but not exact duplicates, and their number, largest first.

    Args:
        near: the result of `near_owners`.
        membership: its argument.

    Returns:
        The columns of both contributors, and the smaller of their numbers of images with a near duplicate of the other.
    """
    owned = csr_array(membership).astype(np.int64)
    counts = owned.T @ (near.astype(np.int64) - owned)  # (contributors, contributors)
    lesser = triu(counts.minimum(counts.T), k=1).tocoo()
    pairs = zip(lesser.row.tolist(), lesser.col.tolist(), lesser.data.tolist(), strict=True)
    return sorted((pair for pair in pairs if pair[2]), key=lambda pair: (-pair[2], pair))


def _owner_groups(owned: csr_array) -> np.ndarray:
    """A number for each item, equal for items of the same contributors, `(items,)`."""
    groups: dict[bytes, int] = {}
    rows = (owned.indices[start:end].tobytes() for start, end in pairwise(owned.indptr))
    return np.array([groups.setdefault(row, len(groups)) for row in rows], dtype=np.int64)


def _near_pairs(
    images: np.ndarray, places: np.ndarray, left: np.ndarray, right: np.ndarray, reach: float
) -> list[np.ndarray]:
    """The pairs that are near among candidates, as arrays `(2, pairs)`."""
    pairs, rows = [], max(1, NUMBERS // int(np.prod(images.shape[1:])))
    for begin in range(0, len(left), rows):
        one, other = left[begin : begin + rows], right[begin : begin + rows]
        apart = _flat(images, places[one]) - _flat(images, places[other])
        near = np.square(apart).sum(axis=1) <= reach**2 * (1 + 1e-6)
        pairs.append(np.stack([one[near], other[near]]))
    return pairs


def _blocks(images: np.ndarray, places: np.ndarray, grid: int) -> np.ndarray:
    """Sums over the blocks of each channel, divided by the root of their size, float32, `(items, channels grid^2)`."""
    channels, height, width = images.shape[1:]
    tops = np.unique(np.arange(grid) * height // grid)
    lefts = np.unique(np.arange(grid) * width // grid)
    sizes = np.outer(np.diff([*tops, height]), np.diff([*lefts, width]))
    sums_by_root = np.empty((len(places), channels * sizes.size), np.float32)
    rows = max(1, NUMBERS // (channels * height * width))
    for start in range(0, len(places), rows):
        part = images[places[start : start + rows]].astype(np.float32) / 255
        sums = np.add.reduceat(np.add.reduceat(part, tops, axis=2), lefts, axis=3)
        sums_by_root[start : start + rows] = (sums / np.sqrt(sizes)).reshape(len(part), -1)
    return sums_by_root


def _flat(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    flat: np.ndarray = images[places].reshape(len(places), -1).astype(np.float32) / 255
    return flat

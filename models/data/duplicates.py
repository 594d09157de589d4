"""Find near duplicates: images that differ by noise only, such as recompressed files."""

from __future__ import annotations

import numpy as np

NEAR = 0.02
"""Largest root mean square difference of near duplicates, as a fraction of the pixel range."""

GRID = 4
"""Blocks per side whose means are compared first."""

ROWS = 1024
NUMBERS = 32_000_000
"""Pixels held in memory at a time."""


def near_owners(images: np.ndarray, membership: np.ndarray, places: np.ndarray | None = None) -> np.ndarray:
    """The contributors of each item and of its near duplicates: bool, `(items, contributors)`.

    No pair is missed. The distance of two images is at least the distance of their block means weighted by the root of
    the block size (Jensen), and so at least that of their means. Only items that are near by mean, and then by blocks,
    are compared in full. Rotated, mirrored, cropped or brightened copies are not near.

    Args:
        images: uint8, `(any number, channels, height, width)`; may be a memory map.
        membership: bool, `(items, contributors)`.
        places: positions of the items in `images`, `(items,)`; None: all, in order.
    """
    places = np.arange(len(membership)) if places is None else places
    pixels = int(np.prod(images.shape[1:]))
    reach = NEAR * np.sqrt(pixels)  # as a Euclidean distance
    means = _blocks(images, places, 1).mean(axis=1)
    order = np.argsort(means, kind="stable")
    places, means = places[order], means[order]
    blocks = _blocks(images, places, GRID)  # (items, blocks)
    blocks -= blocks.mean(axis=0)
    _, owners = np.unique(membership[order], axis=0, return_inverse=True)
    near_members, members = membership[order], membership[order].astype(np.float32)
    rows = max(1, min(ROWS, NUMBERS // pixels))
    for start in range(0, len(places), rows):
        chunk = np.arange(start, min(start + rows, len(places)))
        end = int(np.searchsorted(means, means[chunk[-1]] + reach / np.sqrt(images.shape[1]) + 1e-3, side="right"))
        for first in range(start, end, 4 * ROWS):
            others = np.arange(first, min(first + 4 * ROWS, end))
            candidates = _within(blocks[chunk], blocks[others], reach) & (owners[chunk, None] != owners[others])
            left, right = chunk[candidates.any(axis=1)], others[candidates.any(axis=0)]
            for part in np.array_split(right, -(-len(right) * pixels // NUMBERS) or 1):
                if len(left) and len(part):
                    near = _within(_flat(images, places[left]), _flat(images, places[part]), reach).astype(np.float32)
                    near_members[left] |= near @ members[part] > 0
                    near_members[part] |= near.T @ members[left] > 0
    unsorted = np.empty_like(near_members)
    unsorted[order] = near_members
    return unsorted


def near_copies(near: np.ndarray, membership: np.ndarray) -> list[tuple[int, int, int]]:
    """Pairs of contributors with images that are near but not exact duplicates, and their number, largest first.

    Args:
        near: the result of `near_owners`.
        membership: its argument.

    Returns:
        The columns of both contributors, and the smaller of their numbers of images with a near duplicate of the other.
    """
    counts = membership.T.astype(np.int64) @ (near & ~membership)  # (contributors, contributors)
    lesser = np.triu(np.minimum(counts, counts.T), k=1)
    pairs = [(int(first), int(second), int(lesser[first, second])) for first, second in np.argwhere(lesser)]
    return sorted(pairs, key=lambda pair: (-pair[2], pair))


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


def _within(left: np.ndarray, right: np.ndarray, reach: float) -> np.ndarray:
    """Pairs with a distance of at most `reach`, bool, `(left, right)`; within rounding, pairs count as near."""
    squares = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1)
    squared_distances = squares - 2 * left @ right.T
    within: np.ndarray = squared_distances <= reach**2 + 1e-6 * squares
    return within

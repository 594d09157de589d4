"""Images that are the same but for noise, such as those of a file that was compressed again."""

from __future__ import annotations

import numpy as np

NEAR = 0.02
"""Root mean square difference of two images, in [0, 1] of their range, up to which they count as near duplicates."""

GRID = 4
"""Blocks a side whose means are compared first."""

ROWS = 1024
NUMBERS = 32_000_000
"""Of pixels that are held at a time."""


def near_owners(images: np.ndarray, membership: np.ndarray, places: np.ndarray | None = None) -> np.ndarray:
    """Who brought an item or nearly it: bool, `(items, contributors)`.

    No pair is missed. The difference of two images is at least that of their blocks' means (Jensen), each weighted by
    the root of its pixels, and so at least that of their means: only items that are near by mean, and by blocks then,
    are compared in full. Turned, mirrored, cropped or brightened copies are not near.

    Args:
        images: uint8, `(any number, channels, height, width)`; may be mapped from a file.
        membership: bool, `(items, contributors)`.
        places: of the items in `images`, `(items,)`; None: all, in turn.
    """
    places = np.arange(len(membership)) if places is None else places
    pixels = int(np.prod(images.shape[1:]))
    reach = NEAR * np.sqrt(pixels)  # as a Euclidean distance
    whole = _blocks(images, places, 1).mean(axis=1)
    order = np.argsort(whole, kind="stable")
    places, whole = places[order], whole[order]
    blocks = _blocks(images, places, GRID)  # (items, blocks)
    blocks -= blocks.mean(axis=0)
    _, owners = np.unique(membership[order], axis=0, return_inverse=True)
    found, own = membership[order], membership[order].astype(np.float32)
    rows = max(1, min(ROWS, NUMBERS // pixels))
    for start in range(0, len(places), rows):
        some = np.arange(start, min(start + rows, len(places)))
        end = int(np.searchsorted(whole, whole[some[-1]] + reach / np.sqrt(images.shape[1]) + 1e-3, side="right"))
        for first in range(start, end, 4 * ROWS):
            others = np.arange(first, min(first + 4 * ROWS, end))
            likely = _within(blocks[some], blocks[others], reach) & (owners[some, None] != owners[others])
            left, right = some[likely.any(axis=1)], others[likely.any(axis=0)]
            for part in np.array_split(right, -(-len(right) * pixels // NUMBERS) or 1):
                if len(left) and len(part):
                    near = _within(_flat(images, places[left]), _flat(images, places[part]), reach).astype(np.float32)
                    found[left] |= near @ own[part] > 0
                    found[part] |= near.T @ own[left] > 0
    back = np.empty_like(found)
    back[order] = found
    return back


def near_copies(near: np.ndarray, membership: np.ndarray) -> list[tuple[int, int, int]]:
    """Pairs of contributors with images that are nearly, and not exactly, the same; and how many, most first.

    Args:
        near, membership: of `near_owners`.

    Returns:
        Columns of the two, and the lesser of the numbers of images of each that are nearly some of the other.
    """
    counts = membership.T.astype(np.int64) @ (near & ~membership)  # (contributors, contributors)
    lesser = np.triu(np.minimum(counts, counts.T), k=1)
    pairs = [(int(one), int(other), int(lesser[one, other])) for one, other in np.argwhere(lesser)]
    return sorted(pairs, key=lambda pair: (-pair[2], pair))


def _blocks(images: np.ndarray, places: np.ndarray, grid: int) -> np.ndarray:
    """Sums over blocks of each channel by the root of their pixels, float32, `(items, channels grid^2)`."""
    channels, height, width = images.shape[1:]
    tops = np.unique(np.arange(grid) * height // grid)
    lefts = np.unique(np.arange(grid) * width // grid)
    share = np.outer(np.diff([*tops, height]), np.diff([*lefts, width]))
    made = np.empty((len(places), channels * share.size), np.float32)
    rows = max(1, NUMBERS // (channels * height * width))
    for start in range(0, len(places), rows):
        shown = images[places[start : start + rows]].astype(np.float32) / 255
        sums = np.add.reduceat(np.add.reduceat(shown, tops, axis=2), lefts, axis=3)
        made[start : start + rows] = (sums / np.sqrt(share)).reshape(len(shown), -1)
    return made


def _flat(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    flat: np.ndarray = images[places].reshape(len(places), -1).astype(np.float32) / 255
    return flat


def _within(left: np.ndarray, right: np.ndarray, reach: float) -> np.ndarray:
    """Which are at most so far apart, bool, `(left, right)`; rounding errs on the near side."""
    squares = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1)
    apart = squares - 2 * left @ right.T
    within: np.ndarray = apart <= reach**2 + 1e-6 * squares
    return within

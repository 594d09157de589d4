"""Near copies among the items of an index: every item is compared with earlier ones that look like it.

What is found of an item depends on no later one, so that adding items changes nothing of those that were there, and
removing items and comparing again those that resembled them equals a rebuild.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from royalty.models.base.progress import Progress
from royalty.models.data.alignment import luminance_of, similarity
from royalty.models.data.hamming import nearest_earlier
from royalty.models.data.hashes import NEAREST as HASHED
from royalty.models.data.hashes import perceptual_hashes
from royalty.models.valuation.copies import earliest_of_each
from royalty.models.valuation.near_copies import NEAREST, connected, copies_from

COMPARED = NEAREST + 2 * HASHED
"""Earlier items that an item is compared with: of nearest features, of nearest hash, and of nearest mirrored hash."""

NONE = -1

BLOCK = 256
"""Items compared at a time."""

Nearest = Callable[[np.ndarray], np.ndarray]
"""From item numbers, `(b,)`, to those of the nearest earlier items, `(b, NEAREST)`; `NONE` where there are fewer."""

Rows = Callable[[np.ndarray], np.ndarray]
"""From item numbers, `(b,)`, to their thumbnails, `(b, SIDE, SIDE)`."""


@dataclass(frozen=True)
class Compared:
    """What items were compared with.

    Attributes:
        numbers: int32, `(items, COMPARED)`, of earlier items; `NONE` where there are fewer.
        similarity: float16, `(items, COMPARED)`, of the pair, in [-1, 1].
    """

    numbers: np.ndarray
    similarity: np.ndarray

    @classmethod
    def none(cls, items: int) -> Compared:
        return cls(np.full((items, COMPARED), NONE, np.int32), np.full((items, COMPARED), -1, np.float16))

    def to_bytes(self) -> bytes:
        return self.numbers.astype("<i4").tobytes() + self.similarity.astype("<f2").tobytes()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Compared:
        items = len(payload) // (6 * COMPARED)
        numbers = np.frombuffer(payload, "<i4", items * COMPARED).reshape(items, COMPARED)
        scores = np.frombuffer(payload, "<f2", offset=4 * items * COMPARED).reshape(items, COMPARED)
        return cls(numbers.astype(np.int32), scores.astype(np.float16))

    def followed_by(self, items: int) -> Compared:
        """The same with rows for more items, which are compared with nothing yet."""
        more = Compared.none(items)
        return Compared(
            np.concatenate([self.numbers, more.numbers]), np.concatenate([self.similarity, more.similarity])
        )

    def resembling(self, removed: np.ndarray) -> np.ndarray:
        """Numbers of the items that were compared with one of these."""
        return np.flatnonzero(np.isin(self.numbers, removed).any(axis=1))

    def of(self, kept: np.ndarray) -> Compared:
        """The rows of these items, with the numbers that the items have if there are no others.

        Args:
            kept: ascending; none of them was compared with another one.
        """
        numbers = self.numbers[kept]
        places = np.searchsorted(kept, numbers).astype(np.int32)
        return Compared(np.where(numbers == NONE, np.int32(NONE), places), self.similarity[kept])


def thumbnails(images: np.ndarray) -> np.ndarray:
    """What of images is compared: their luminance, uint8, `(items, SIDE, SIDE)`.

    Args:
        images: uint8, `(items, 1 or 3, height, width)`.
    """
    small: np.ndarray = (255 * luminance_of(images)).round().clamp(0, 255).to(torch.uint8).numpy()
    return small


def alike_of(rows: Rows, present: np.ndarray) -> float:
    """The similarity from which items are copies; see `royalty.models.valuation.near_copies.copies_from`.

    Args:
        present: ascending numbers of the items.
    """
    return copies_from(len(present), lambda places: _luminance(rows(present[places])))


def compare(
    compared: Compared,
    fresh: np.ndarray,
    rows: Rows,
    nearest: Nearest,
    present: np.ndarray,
    progress: Progress | None = None,
) -> Compared:
    """Compare items with earlier ones.

    Args:
        compared: of all items; the rows of the fresh ones are replaced.
        fresh: ascending numbers of the items to compare.
        present: ascending numbers of the items that were not removed; all of `fresh` are.
        progress: called with the number of items done since the last call.
    """
    if not len(fresh):
        return compared
    numbers, scores = compared.numbers.copy(), compared.similarity.copy()
    for column, near in enumerate(_nearest_hashes(fresh, rows, present)):
        places = slice(NEAREST + column * HASHED, NEAREST + (column + 1) * HASHED)
        numbers[fresh, places] = np.where(near == NONE, NONE, present[near])
    for part in _blocks(fresh):
        numbers[part, :NEAREST] = nearest(part)
        scores[part] = _similarities(rows, part, numbers[part])
        if progress is not None:
            progress(len(part))
    return Compared(numbers, scores)


def copies_among(small: np.ndarray, numbers: np.ndarray, rows: Rows, alike: float) -> tuple[np.ndarray, np.ndarray]:
    """Which of some items an image is a near copy of, most similar first.

    Args:
        small: its thumbnail, `(SIDE, SIDE)`.
        numbers: of the items.
        alike: result of `alike_of`.

    Returns:
        Their numbers, and their similarity to the image, from `alike` to 1.
    """
    both = _luminance(np.concatenate([small[None], rows(numbers)]))
    places = np.arange(len(numbers))
    scores = similarity(both, np.zeros_like(places), places + 1)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= alike]
    return numbers[order], scores[order]


def earliest_copies(
    compared: Compared, alike: float, present: np.ndarray, since: np.ndarray | None = None
) -> np.ndarray:
    """The number of the earliest member of the group of each item, int32, `(items,)`; itself for a removed item.

    Args:
        since: when each item was there first; see `royalty.models.valuation.copies.earliest_members`.
    """
    there = np.zeros(len(compared.numbers), dtype=bool)
    there[present] = True
    left, column = np.nonzero((compared.similarity >= alike) & (compared.numbers != NONE))
    right = compared.numbers[left, column]
    both = there[left] & there[right]
    groups = connected(right[both].astype(np.int64), left[both], len(there))
    return earliest_of_each(groups, since).astype(np.int32)


def _similarities(rows: Rows, part: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Similarity of items and those found for each, float16; -1 where there are fewer."""
    left, column = np.nonzero(found != NONE)
    scores = np.full(found.shape, -1, np.float16)
    if len(left):
        needed, places = np.unique(np.concatenate([part[left], found[left, column]]), return_inverse=True)
        scores[left, column] = similarity(_luminance(rows(needed)), places[: len(left)], places[len(left) :])
    return scores


def _luminance(small: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(small)).float() / 255


def _nearest_hashes(fresh: np.ndarray, rows: Rows, present: np.ndarray) -> Iterator[np.ndarray]:
    """Places, among the present items, of the earlier ones of nearest hash to each item, and to each mirrored one; both
    `(fresh, HASHED)`, `NONE` where there are fewer."""
    hashes = np.concatenate([_hashes(rows(part)) for part in _blocks(present)])
    before = np.searchsorted(present, fresh)
    yield nearest_earlier(hashes, hashes[before], before, HASHED)
    mirrored = np.concatenate([_hashes(rows(part)[:, :, ::-1]) for part in _blocks(fresh)])
    yield nearest_earlier(hashes, mirrored, before, HASHED)


def _hashes(small: np.ndarray) -> np.ndarray:
    """64 bits of each image as a number, uint64."""
    return perceptual_hashes(small.astype(np.float32))


def _blocks(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[start : start + BLOCK] for start in range(0, len(numbers), BLOCK)]

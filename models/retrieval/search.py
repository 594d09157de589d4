"""Exact nearest neighbours among the candidates of inverted lists, one query at a time.

A query alone and the same query in a batch give the same numbers to the last bit: every query is searched by itself, on
one thread, and distances are computed row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from royalty.models.base.errors import InputError
from royalty.models.retrieval.codebook import Codebook, Lists, bits_of, scan
from royalty.models.valuation.centring import FEWEST
from royalty.models.valuation.neighbours import unit_vectors

STORED = np.dtype("<f2")
"""Type of stored vectors: the components of unit vectors lose at most a part in 2,048."""

CANDIDATES = 2
"""Candidates by codes for each neighbour that is asked for, which are then ranked exactly."""

FEWEST_CANDIDATES = 200

BLOCK = 4_096
"""Rows that are compared at a time where all rows are compared."""

AT_THE_MEAN = 1e-6
"""A vector that is no farther from the mean has no direction from it, but that of rounding errors."""


@dataclass(frozen=True)
class Shard:
    """A part of the items, never changed after it is written.

    Attributes:
        vectors: `STORED`, `(items, dimensions)`, of length one, usually mapped from a file.
        first: number of its first item.
        lists: codes of its items; None in a set without codebook.
    """

    vectors: np.ndarray
    first: int
    lists: Lists | None = None


@dataclass(frozen=True)
class Vectors:
    """All items of an index, in shards, less those that were removed.

    Attributes:
        shards: in the order of their numbers, without gaps.
        removed: ascending numbers of removed items.
        mean: items are compared by their directions from it, float32, `(dimensions,)`; None: by those from zero. See
            `royalty.models.valuation.centring`.
    """

    shards: Sequence[Shard]
    codebook: Codebook | None
    removed: np.ndarray
    removed_bits: np.ndarray | None
    mean: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        shards: Sequence[Shard],
        codebook: Codebook | None,
        removed: np.ndarray | None = None,
        mean: np.ndarray | None = None,
    ) -> Vectors:
        gone = np.empty(0, np.int64) if removed is None else removed
        count = sum(len(shard.vectors) for shard in shards)
        return cls(shards, codebook, gone, bits_of(gone, count), mean)

    @property
    def dimensions(self) -> int:
        return int(self.shards[0].vectors.shape[1]) if self.shards else 0

    @property
    def count(self) -> int:
        """Items that can be found."""
        return sum(len(shard.vectors) for shard in self.shards) - len(self.removed)

    def mean_vector(self) -> np.ndarray | None:
        """Mean of the stored vectors of all items that can be found, float32, `(dimensions,)`; None for one item.

        Sums are in the order of the items, so that the same items give the same mean.
        """
        if self.count < FEWEST:
            return None
        total = np.zeros(self.dimensions)
        for shard in self.shards:
            for start in range(0, len(shard.vectors), BLOCK):
                rows = shard.vectors[start : start + BLOCK].astype(np.float64)
                numbers = np.arange(start, start + len(rows)) + shard.first
                total += rows[~np.isin(numbers, self.removed, assume_unique=True)].sum(axis=0)
        return (total / self.count).astype(np.float32)

    def nearest(self, query: np.ndarray, k: int, *, probes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k items nearest to a vector, nearest first; of equal distances the lowest number first.

        With a codebook, the nearest of the candidates that the probed lists hold; fewer than k candidates are
        completed by comparing all items.

        Args:
            query: `(dimensions,)`, of any length but zero.
            k: at most `count` are returned.
            probes: lists to search; by default `Codebook.probes`.

        Returns:
            Euclidean distances of the directions, float64, in [0, 2], and item numbers, int64, both `(k,)`.

        Raises:
            InputError: another number of dimensions; not finite, or of length zero.
        """
        if query.shape != (self.dimensions,):
            raise InputError(
                f"a query has the dimensions of the items, {self.dimensions}; got shape {query.shape}. Embed both with "
                "one encoder"
            )
        k = min(k, self.count)
        if k < 1:
            raise InputError(f"neighbours are found among at least one item, and k is at least 1; got k = {k}")
        # Stored vectors are rounded, so the query is: the distance of a copy is then exactly zero.
        rounded = stored(query[None], "query")
        wanted = max(FEWEST_CANDIDATES, CANDIDATES * k)
        numbers = self._candidates(rounded[0].astype(np.float32), wanted, probes)
        direction = _directions(rounded, self.mean)[0]
        if len(numbers) < k:
            numbers = self._compared(direction, k)
        return self._ranked(direction, numbers, k, self.mean)

    def nearest_earlier(self, numbers: np.ndarray, k: int) -> np.ndarray:
        """The k items before each item that are nearest to it, int64, `(numbers, k)`; -1 where there are fewer.

        By their directions from zero: what is nearest to an item must not change with the mean of all.

        Args:
            numbers: ascending numbers of items.
        """
        if self.codebook is None:
            return self._compared_with_earlier(numbers, k)
        found = np.full((len(numbers), k), -1, np.int64)
        for place, number in enumerate(numbers.tolist()):
            shard = next(shard for shard in reversed(self.shards) if shard.first <= number)
            unit = shard.vectors[number - shard.first].astype(np.float32)
            candidates = self._candidates(unit, FEWEST_CANDIDATES, None, before=number)
            near = self._ranked(unit, candidates, k, None)[1]
            found[place, : len(near)] = near
        return found

    def _compared_with_earlier(self, numbers: np.ndarray, k: int) -> np.ndarray:
        """The same by comparing items with all earlier ones."""
        own = np.concatenate([shard.vectors[_inside(numbers, shard)] for shard in self.shards]).astype(np.float32)
        best_apart = np.full((len(numbers), k), np.inf, np.float32)
        best = np.full((len(numbers), k), -1, np.int64)
        for shard in self.shards:
            for start in range(0, len(shard.vectors), BLOCK):
                others = np.arange(start, min(start + BLOCK, len(shard.vectors))) + shard.first
                if others[0] >= numbers[-1]:
                    break
                vectors = shard.vectors[start : start + BLOCK].astype(np.float32)
                apart = np.square(own).sum(1)[:, None] + np.square(vectors).sum(1) - 2 * own @ vectors.T
                hidden = np.isin(others, self.removed, assume_unique=True)
                apart[hidden[None] | (others >= numbers[:, None])] = np.inf
                apart = np.concatenate([best_apart, apart], axis=1)
                rows = np.concatenate([best, np.broadcast_to(others, (len(numbers), len(others)))], axis=1)
                order = np.argsort(apart, axis=1, kind="stable")[:, :k]
                best_apart, best = (np.take_along_axis(array, order, axis=1) for array in (apart, rows))
        return np.where(np.isfinite(best_apart), best, -1)

    def _candidates(self, unit: np.ndarray, wanted: int, probes: int | None, before: int | None = None) -> np.ndarray:
        """Numbers of the items whose codes are nearest; none without a codebook."""
        if self.codebook is None:
            return np.empty(0, np.int64)
        probe = self.codebook.probe(unit, probes or self.codebook.probes)
        parts = [
            scan(shard.lists, probe, wanted, self.removed_bits, before=before) for shard in self.shards if shard.lists
        ]
        apart = np.concatenate([distances for distances, _ in parts])
        numbers = np.concatenate([found for _, found in parts])
        nearest: np.ndarray = numbers[np.lexsort((numbers, apart))[:wanted]]
        return nearest

    def _compared(self, direction: np.ndarray, k: int) -> np.ndarray:
        """Numbers of the k nearest items, and of all that are as near as the k-th, by comparing all items."""
        best_apart, best = np.empty(0, np.float32), np.empty(0, np.int64)
        for shard in self.shards:
            for start in range(0, len(shard.vectors), BLOCK):
                numbers = np.arange(start, min(start + BLOCK, len(shard.vectors))) + shard.first
                apart = _squared(direction, shard.vectors[start : start + BLOCK], self.mean)
                present = ~np.isin(numbers, self.removed, assume_unique=True)
                best_apart = np.concatenate([best_apart, apart[present]])
                best = np.concatenate([best, numbers[present]])
                if len(best) > k:
                    kept = best_apart <= np.partition(best_apart, k - 1)[k - 1]
                    best_apart, best = best_apart[kept], best[kept]
        return best

    def _ranked(
        self, direction: np.ndarray, numbers: np.ndarray, k: int, mean: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.sort(numbers)
        apart = np.empty(len(numbers), np.float32)
        for shard in self.shards:
            begin, end = np.searchsorted(numbers, [shard.first, shard.first + len(shard.vectors)])
            if end > begin:
                apart[begin:end] = _squared(direction, shard.vectors[numbers[begin:end] - shard.first], mean)
        order = np.lexsort((numbers, apart))[:k]
        return np.sqrt(apart[order], dtype=np.float64), numbers[order]


def _inside(numbers: np.ndarray, shard: Shard) -> np.ndarray:
    """Rows of a shard that have one of these numbers."""
    rows: np.ndarray = numbers[(numbers >= shard.first) & (numbers < shard.first + len(shard.vectors))] - shard.first
    return rows


def stored(features: np.ndarray, title: str) -> np.ndarray:
    """Vectors as they are stored: of length one, in half precision.

    Raises:
        InputError: a vector is not finite, or of length zero; its row is named.
    """
    vectors: np.ndarray = unit_vectors(features, title).astype(STORED)
    return vectors


def _squared(direction: np.ndarray, vectors: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Squared distances of the directions of rows from one; each row by itself, whatever the others are."""
    differences = _directions(vectors, mean)
    differences -= direction
    return _squares(differences)


def _directions(vectors: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Directions of stored vectors from a mean, or from zero if it is None, float32; zero for vectors at the mean."""
    # torch converts half precision by vector instructions, numpy number by number.
    directions: np.ndarray = torch.from_numpy(np.array(vectors)).float().numpy()
    if mean is not None:
        directions -= mean
        lengths = np.sqrt(_squares(directions))
        directions /= np.where(lengths > AT_THE_MEAN, lengths, np.inf)[:, None]
    return directions


def _squares(rows: np.ndarray) -> np.ndarray:
    squared: np.ndarray = np.einsum("ij,ij->i", rows, rows)
    return squared

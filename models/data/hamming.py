"""The hashes that differ from each one in fewest bits, of all or of those before it, without comparing all pairs.

Hashes are sorted by bands of their bits. If two differ in at most t bits in all, they differ in at most t / bands in
one of the bands (Norouzi, Punjani and Fleet, Fast search in Hamming space with multi-index hashing, 2012): bands are
searched at growing distance until nothing nearer can be left. The result is that of comparing all pairs, whatever the
hashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import faiss
import numpy as np

BITS = 64

FEW = 100_000
"""Earlier hashes up to which comparing all is as fast."""

FEW_QUERIES = 10_000
"""Queries up to which comparing all is faster than sorting."""

FEW_AT_ONCE = 50_000
"""Codes or queries up to which comparing all is faster if every query has the same codes."""

ALIKE = 16
"""Bits in which hashes that are sought by bands differ at most; where there are no such, all are compared."""

IN_A_BUCKET = 96
"""Hashes that agree in a band, on average."""

WIDEST = 16
"""Most bits of a band; more than these are not sorted in linear time."""

TILE = 1 << 17
"""Pairs that are compared at a time, so that they stay in the processor's cache."""

PENDING = 1 << 20
"""Pairs that are kept before the nearest are taken from them."""

ROW = np.uint64(40)
"""Place of the distance in a key; below it is the row: the least key is the nearest, and of equal ones the first."""

LOWER = (np.uint64(1) << ROW) - np.uint64(1)
"""The bits of the row in a key."""

NOTHING = np.uint64(np.iinfo(np.uint64).max)


def nearest(codes: np.ndarray, queries: np.ndarray, count: int) -> np.ndarray:
    """The rows of the hashes nearest to each query, int64, `(queries, count)`, nearest first; of equal ones the first.

    Args:
        codes: uint64, `(n,)`, at least `count` of them.
        queries: uint64, `(queries,)`.
    """
    if min(len(codes), len(queries)) <= FEW_AT_ONCE:
        return _compared_at_once(codes, queries, count)
    search = _Search(codes, queries, np.full(len(queries), len(codes)), np.full((len(queries), count), NOTHING))
    left = search.run()
    found = (search.keys & LOWER).astype(np.int64)
    found[left] = _compared_at_once(codes, queries[left], count)
    return found


def _compared_at_once(codes: np.ndarray, queries: np.ndarray, count: int) -> np.ndarray:
    index = faiss.IndexBinaryFlat(BITS)
    index.add(codes.view(np.uint8).reshape(-1, BITS // 8))
    rows: np.ndarray = index.search(queries.view(np.uint8).reshape(-1, BITS // 8), count)[1]
    return rows


def nearest_earlier(codes: np.ndarray, queries: np.ndarray, before: np.ndarray, count: int) -> np.ndarray:
    """The rows of the earlier hashes nearest to each query, int64, `(queries, count)`; of equal ones the first.

    Args:
        codes: uint64, `(n,)`.
        queries: uint64, `(queries,)`.
        before: the number of codes that are earlier than each query, ascending.

    Returns:
        Nearest first; -1 where there are fewer.
    """
    found = np.full((len(queries), count), -1, np.int64)
    begin = int(np.searchsorted(before, FEW, "right"))
    alone = [np.arange(begin)]
    while begin < len(queries):
        # Codes are sorted anew when the queries have twice as many earlier ones: few others are looked at.
        end = int(np.searchsorted(before, 2 * before[begin], "right"))
        among, part = int(before[end - 1]), slice(begin, end)
        left = np.arange(end - begin)
        if len(left) > FEW_QUERIES:
            search = _Search(codes[:among], queries[part], before[part], np.full((end - begin, count), NOTHING))
            left = search.run()
            found[part] = np.where(search.keys == NOTHING, -1, (search.keys & LOWER).astype(np.int64))
        alone.append(begin + left)
        begin = end
    for place in np.concatenate(alone).tolist():
        near = compared_with_all(codes[: before[place]], queries[place], count)
        found[place, : len(near)] = near
    return found


def compared_with_all(codes: np.ndarray, query: np.uint64, count: int) -> list[int]:
    """Rows of the codes that differ from a query in fewest bits, nearest first; of equal ones the first."""
    apart = np.bitwise_count(codes ^ query)
    near: list[int] = []
    for _ in range(min(count, len(codes))):
        near.append(int(apart.argmin()))
        apart[near[-1]] = 255
    return near


@dataclass
class _Search:
    """Queries among codes, by bands.

    Attributes:
        keys: of the nearest found, uint64, `(queries, count)`; written to.
    """

    codes: np.ndarray
    queries: np.ndarray
    before: np.ndarray
    keys: np.ndarray

    def run(self) -> np.ndarray:
        """Find the nearest; returns the places of the queries that have fewer than `count` alike."""
        rows = self._first_of_equal()
        width = int(np.clip(np.log2(len(rows) / IN_A_BUCKET), 4, WIDEST)) if len(rows) > IN_A_BUCKET else 4
        bands = BITS // width
        active = self._unfinished(0)
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting = 0
        buffers = np.empty(TILE, np.uint64), np.empty(TILE, np.uint8), np.empty(TILE, bool)
        for reached in range(ALIKE + 1):
            if not len(active):
                return active
            flips, band = divmod(reached, bands)
            masks = _masks(width, flips)
            bucket = _Bucket.sorted(self.codes, rows, width, band)
            for numbers, key in _groups(_band(self.queries[active], width, band)):
                self._compare(active[numbers], bucket, key ^ masks, buffers)
            self._settle()
            active = self._unfinished(reached)
        return active

    def _first_of_equal(self) -> np.ndarray:
        """Ascending rows of the first `count` of equal codes, of which no others can be nearest. The queries get those
        that are equal to them, so that many equal hashes cost nothing more."""
        order = np.argsort(self.codes, kind="stable")
        ordered = self.codes[order]
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        rank = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
        place = np.searchsorted(ordered, self.queries)
        for column in range(self.keys.shape[1]):
            there = np.minimum(place + column, len(order) - 1)
            same = (ordered[there] == self.queries) & (order[there] < self.before) & (place + column < len(order))
            self.keys[same, column] = order[there[same]].astype(np.uint64)
        return np.sort(order[rank < self.keys.shape[1]])

    def _unfinished(self, reached: int) -> np.ndarray:
        """Queries to which one that is farther than `reached` could be nearer than those found."""
        return np.flatnonzero(self.keys[:, -1] >> ROW > reached)

    def _compare(self, numbers: np.ndarray, bucket: _Bucket, near: np.ndarray, buffers: tuple[np.ndarray, ...]) -> None:
        """Compare queries of one bucket with the codes of those near it."""
        rows, codes = bucket.of(near)
        if not len(rows):
            return
        wide = min(len(rows), TILE)
        for start in range(0, len(rows), wide):
            some = codes[start : start + wide]
            high = TILE // len(some)
            for top in range(0, len(numbers), high):
                part = numbers[top : top + high]
                shape = len(part), len(some)
                apart, bits, alike = (buffer[: shape[0] * shape[1]].reshape(shape) for buffer in buffers)
                np.bitwise_xor(self.queries[part, None], some, out=apart)
                np.bitwise_count(apart, out=bits)
                worst = np.minimum(self.keys[part, -1] >> ROW, np.uint64(ALIKE)).astype(np.uint8)
                np.less_equal(bits, worst[:, None], out=alike)
                found = np.flatnonzero(alike)
                if len(found):
                    place, column = np.divmod(found, len(some))
                    row, query = rows[start + column], part[place]
                    earlier = row < self.before[query]
                    key = (bits.ravel()[found[earlier]].astype(np.uint64) << ROW) | row[earlier].astype(np.uint64)
                    self._pending.append((query[earlier], key))
                    self._waiting += len(key)
                    if self._waiting > PENDING:
                        self._settle()

    def _settle(self) -> None:
        """Take the nearest of what was found and not looked at yet."""
        if not self._waiting:
            self._pending.clear()
            return
        queries, keys = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
        self._pending.clear()
        self._waiting = 0
        known = np.unique(queries)
        queries = np.concatenate([queries, np.repeat(known, self.keys.shape[1])])
        keys = np.concatenate([keys, self.keys[known].ravel()])
        order = np.lexsort((keys, queries))
        queries, keys = queries[order], keys[order]
        new = np.ones(len(keys), dtype=bool)  # a pair is found again in other bands
        new[1:] = (queries[1:] != queries[:-1]) | (keys[1:] != keys[:-1])
        queries, keys = queries[new], keys[new]
        _, first, found = np.unique(queries, return_index=True, return_counts=True)
        for column in range(self.keys.shape[1]):
            there = found > column
            self.keys[known[there], column] = keys[first[there] + column]


@dataclass(frozen=True)
class _Bucket:
    """Codes in the order of one band, and where those of each of its values begin."""

    rows: np.ndarray
    codes: np.ndarray
    starts: np.ndarray

    @classmethod
    def sorted(cls, codes: np.ndarray, rows: np.ndarray, width: int, band: int) -> _Bucket:
        values = _band(codes[rows], width, band)
        order = rows[np.argsort(values, kind="stable")]
        starts = np.concatenate([[0], np.cumsum(np.bincount(values, minlength=1 << width))])
        return cls(order, codes[order], starts)

    def of(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and codes with one of these values of the band."""
        begin = self.starts[values]
        sizes = self.starts[values + 1] - begin
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1]) + np.repeat(begin - (ends - sizes), sizes)
        return self.rows[places], self.codes[places]


def _band(codes: np.ndarray, width: int, band: int) -> np.ndarray:
    values: np.ndarray = ((codes >> np.uint64(band * width)) & np.uint64((1 << width) - 1)).astype(np.uint16)
    return values


def _masks(width: int, flips: int) -> np.ndarray:
    """All numbers of `width` bits of which `flips` are 1, int64."""
    return np.array([sum(1 << place for place in places) for places in combinations(range(width), flips)])


def _groups(values: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Places of equal values, and the value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(order)], strict=True):
        yield order[begin:end], int(ordered[begin])

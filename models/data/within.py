"""All pairs of points within a distance of each other, without comparing all pairs.

Points are sorted into cells, by boundaries along their coordinates. Two points within reach r are in the same cell, or
in cells that touch: if a point lies g_i from the boundary that the pair crosses along coordinate i, and the other h_i,
the sum of (g_i + h_i)^2 is at most r^2. So the sum of the squares of g_i, or that of h_i, is at most r^2 / 2, and the
pair is found if each point looks into all cells that it reaches by that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

WIDE = 4.0
"""Least width of a cell, in reaches, so that few points are near its boundaries."""

MOST_CELLS = 1 << 24

SAMPLE = 2048
"""Points for which the work is counted, to choose the coordinates along which there are boundaries."""

LOOK = 8
"""Work to look into a cell, in pairs."""

ITEMS = 1 << 15
"""Points that look into cells at a time."""

PAIRS = 1 << 20
"""Pairs given at a time, unless a point has more."""


class _Looks(NamedTuple):
    """Points, the cells that they look into, and the sum of the squares of their gaps, all `(looks,)`."""

    items: np.ndarray
    cells: np.ndarray
    used: np.ndarray


class _Border(NamedTuple):
    """The squares of the gaps of each point to the boundaries below and above along a coordinate, both `(points,)`.

    Attributes:
        step: how much higher the number of the next cell is.
    """

    below: np.ndarray
    above: np.ndarray
    step: int


def pairs_within(points: np.ndarray, reach: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of all pairs of two points within reach; a pair may come twice, in either order.

    Args:
        points: `(points, coordinates)`, of which those that vary most come first.
        reach: largest Euclidean distance.
    """
    if not len(points):
        return
    coordinates = np.ascontiguousarray(points.T)
    cells, borders, starts = _divided(coordinates, reach)
    order = np.argsort(cells, kind="stable")
    for begin in range(0, len(points), ITEMS):
        looks = _own(cells, np.arange(begin, min(begin + ITEMS, len(points))))
        for border in borders:
            looks = _across(looks, border, reach)
        for left, right in _joined(looks, cells, starts, order):
            yield _near(coordinates, left, right, reach)


def _divided(coordinates: np.ndarray, reach: float) -> tuple[np.ndarray, list[_Border], np.ndarray]:
    """The cell of each point, the borders, and how many points are in cells of lower number, `(cells + 1,)`.

    Boundaries along a coordinate are drawn if that leaves less work for a sample of points.
    """
    number = coordinates.shape[1]
    cells, borders, total = np.zeros(number, np.int64), list[_Border](), 1
    starts = np.array([0, number])
    sample = np.random.default_rng(0).permutation(number)[:SAMPLE]
    looks, work = _own(cells, sample), len(sample) * (LOOK + number)
    for values in coordinates:
        bounds = _bounds(values, WIDE * reach)
        if not len(bounds) or total * (len(bounds) + 1) > MOST_CELLS:
            continue
        fence = np.concatenate([[-np.inf], bounds, [np.inf]])
        place = np.searchsorted(bounds, values, "right")
        border = _Border(
            np.square(values - fence[place]).astype(np.float32),
            np.square(fence[place + 1] - values).astype(np.float32),
            total,
        )
        divided = cells + place * total
        counts = np.bincount(divided, minlength=total * (len(bounds) + 1))
        tried = _across(looks._replace(cells=looks.cells + place[looks.items] * total), border, reach)
        needed = LOOK * len(tried.items) + int(counts[tried.cells].sum())
        if needed < work:
            cells, looks, work, total = divided, tried, needed, len(counts)
            starts = np.concatenate([[0], np.cumsum(counts)])
            borders.append(border)
    return cells, borders, starts


def _bounds(values: np.ndarray, width: float) -> np.ndarray:
    """Boundaries at least `width` apart; one of them is the median if there is no room for more."""
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    room = int((high - low) / width)
    return np.linspace(low, high, room + 1)[1:-1] if room > 2 else np.array([middle] * min(room, 1))


def _own(cells: np.ndarray, items: np.ndarray) -> _Looks:
    return _Looks(items, cells[items], np.zeros(len(items), np.float32))


def _across(looks: _Looks, border: _Border, reach: float) -> _Looks:
    """The looks, and those of them across one border more."""
    parts = [looks]
    for gaps, step in ((border.below, -border.step), (border.above, border.step)):
        used = looks.used + gaps[looks.items]
        far = np.flatnonzero(used <= reach**2 / 2)
        parts.append(_Looks(looks.items[far], looks.cells[far] + step, used[far]))
    return _Looks(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _joined(
    looks: _Looks, cells: np.ndarray, starts: np.ndarray, order: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each point with those in the cells that it looks into."""
    sizes = starts[looks.cells + 1] - starts[looks.cells]
    some = np.flatnonzero(sizes)
    items, sizes, begins = looks.items[some], sizes[some], starts[looks.cells[some]]
    own = cells[items] == looks.cells[some]
    ends, start = np.cumsum(sizes), 0
    while start < len(items):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + PAIRS, "right")))
        part = slice(start, stop)
        left = np.repeat(items[part], sizes[part])
        right = order[np.arange(len(left)) + np.repeat(begins[part] - ends[part] + sizes[part] + done, sizes[part])]
        # Both points of a pair in one cell look into it.
        once = (left < right) | ~np.repeat(own[part], sizes[part])
        yield left[once], right[once]
        start = stop


def _near(coordinates: np.ndarray, left: np.ndarray, right: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """The pairs within reach: most of the others are left out by their first coordinates."""
    apart = np.zeros(len(left), coordinates.dtype)
    for values in coordinates:
        apart += np.square(values[left] - values[right])
        near = apart <= reach**2
        left, right, apart = left[near], right[near], apart[near]
    return left, right

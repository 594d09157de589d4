"""Telling contributors apart: closed forms, and the laws of rank ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.models.valuation.intervals import RankRange, pairs_told_apart, rank_ranges, surely_above, told_apart

ends = st.tuples(st.integers(-50, 50), st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))
tables = st.lists(ends, min_size=1, max_size=12)


def ranges(intervals: list[tuple[int, int]]) -> list[RankRange]:
    return rank_ranges(*np.array(intervals, float).T)


def test_ranks_of_a_known_table() -> None:
    intervals = [(8, 9), (3, 6), (5, 7), (1, 4), (-2, 0)]
    assert ranges(intervals) == [RankRange(*ends) for ends in ((1, 1), (2, 4), (2, 3), (3, 4), (5, 5))]
    assert pairs_told_apart(*np.array(intervals).T) == 10 - 2
    assert ranges([(0, 9)]) == [RankRange(1, 1)]
    assert ranges([(0, 9)] * 3) == [RankRange(1, 3)] * 3


def test_intervals_that_touch_are_not_told_apart() -> None:
    assert not told_apart((0, 1), (1, 2))
    assert told_apart((0, 1), (np.nextafter(1, 2), 2))
    assert not told_apart((1, 1), (1, 1))


@given(table=tables)
def test_ranges_hold_the_rank_of_every_credit_that_the_intervals_allow(table: list[tuple[int, int]]) -> None:
    for draw in np.random.default_rng(0).uniform(0, 1, (20, len(table))):
        low, high = np.array(table, float).T
        credits = low + draw * (high - low)
        for row, credit in zip(ranges(table), credits, strict=True):
            assert row.best <= 1 + (credits > credit).sum() <= row.worst


@given(table=tables)
def test_the_ends_of_a_range_are_reached(table: list[tuple[int, int]]) -> None:
    low, high = np.array(table, float).T
    for place, row in enumerate(ranges(table)):
        for worst in (True, False):
            credits = np.where(np.arange(len(table)) == place, low if worst else high, high if worst else low)
            others = np.delete(credits, place)
            rank = 1 + (others >= credits[place]).sum() if worst else 1 + (others > credits[place]).sum()
            assert rank == (row.worst if worst else row.best)


@given(table=tables, scale=st.integers(1, 5), shift=st.integers(-9, 9))
def test_ranks_have_no_unit_and_no_order(table: list[tuple[int, int]], scale: int, shift: int) -> None:
    moved = [(scale * low + shift, scale * high + shift) for low, high in table]
    assert ranges(moved) == ranges(table)
    assert ranges(table[::-1]) == ranges(table)[::-1]
    pairs = sum(told_apart(*pair) for index, one in enumerate(table) for pair in [(one, two) for two in table[:index]])
    assert pairs_told_apart(*np.array(table, float).T) == pairs


@pytest.mark.parametrize("certain", [True, False])
def test_who_is_told_apart_never_shares_a_rank(certain: bool) -> None:
    rows = ranges([(0, 1), (2, 3)] if certain else [(0, 2), (1, 3)])
    assert (rows[0].best > rows[1].worst) is certain


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 4)), max_size=12))
def test_counts_by_sorting_are_those_of_all_pairs(intervals: list[tuple[int, int]]) -> None:
    low = np.array([start for start, _ in intervals], float)
    high = np.array([start + width for start, width in intervals], float)
    above = np.asarray(surely_above(low[:, None], high[None, :]), bool).reshape(len(low), len(low))
    expected = [(1 + int(above[:, i].sum()), len(low) - int(above[i].sum())) for i in range(len(low))]
    assert [(row.best, row.worst) for row in rank_ranges(low, high)] == expected
    assert pairs_told_apart(low, high) == above.sum()

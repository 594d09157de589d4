"""The hashes that differ in fewest bits, of all and of earlier ones: as by comparing all pairs, whatever the hashes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from royalty.models.data import hamming
from royalty.models.data.hamming import nearest, nearest_earlier

COUNT = 2


@pytest.fixture(autouse=True)
def _bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search small sets by bands too, with several blocks and tiles."""
    for name, value in (("FEW", 100), ("FEW_QUERIES", 20), ("FEW_AT_ONCE", 20), ("TILE", 500), ("PENDING", 3_000)):
        monkeypatch.setattr(hamming, name, value)


def random(draws: np.random.Generator, items: int) -> np.ndarray:
    return draws.integers(0, 2**64, items, dtype=np.uint64)


def flipped(draws: np.random.Generator, codes: np.ndarray, most: int) -> np.ndarray:
    """The codes with up to that many other bits."""
    for _ in range(most):
        codes = codes ^ (np.uint64(1) << draws.integers(0, 64, len(codes), dtype=np.uint64)) * draws.integers(
            0, 2, len(codes), dtype=np.uint64
        )
    return codes


def hashes(kind: str, items: int = 3_000) -> np.ndarray:
    draws = np.random.default_rng(0)
    if kind == "random":
        return random(draws, items)
    if kind == "clustered":
        return flipped(draws, draws.choice(random(draws, 60), items), 6)
    if kind == "flat":  # most images are of one colour, some nearly
        return np.where(draws.random(items) < 0.9, np.uint64(0), flipped(draws, np.zeros(items, np.uint64), 3))
    return random(draws, items) & np.uint64(0xFFFF0000)  # few bits, which one band has


def compared_with_each(codes: np.ndarray, queries: np.ndarray, before: np.ndarray) -> list[list[int]]:
    rows = []
    for query, earlier in zip(queries, before.tolist(), strict=True):
        apart = np.bitwise_count(codes[:earlier] ^ query)
        order = np.lexsort((np.arange(earlier), apart))[:COUNT].tolist()
        rows.append(order + [-1] * (COUNT - len(order)))
    return rows


@pytest.mark.parametrize("kind", ["random", "clustered", "flat", "narrow"])
def test_bands_equal_comparing_all(kind: str) -> None:
    codes = hashes(kind)
    before = np.arange(len(codes))
    assert nearest_earlier(codes, codes, before, COUNT).tolist() == compared_with_each(codes, codes, before)


@pytest.mark.parametrize("kind", ["random", "clustered"])
def test_other_queries_that_begin_late_equal_comparing_all(kind: str) -> None:
    codes = hashes(kind)
    before = np.sort(np.random.default_rng(1).integers(1_500, len(codes) + 1, 400))
    queries = flipped(np.random.default_rng(2), codes[before - 1], 4)
    assert nearest_earlier(codes, queries, before, COUNT).tolist() == compared_with_each(codes, queries, before)


@pytest.mark.parametrize("kind", ["random", "clustered", "flat", "narrow"])
def test_nearest_of_all_equal_comparing_all(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = hashes(kind, 1_000)
    every = np.full(len(codes), len(codes))
    for queries in (codes, flipped(np.random.default_rng(3), codes, 4), random(np.random.default_rng(4), len(codes))):
        by_bands = nearest(codes, queries, COUNT)
        assert by_bands.tolist() == compared_with_each(codes, queries, every)
        with monkeypatch.context() as patched:
            patched.setattr(hamming, "FEW_AT_ONCE", len(codes))
            np.testing.assert_array_equal(nearest(codes, queries, COUNT), by_bands)


def test_memory_does_not_grow_with_the_pairs_of_hashes_that_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank images with noise: nearly all pairs are alike."""
    for name in ("TILE", "PENDING"):
        monkeypatch.setattr(hamming, name, 20_000)
    codes = flipped(np.random.default_rng(0), np.zeros(4_000, np.uint64), 4)
    tracemalloc.start()
    try:
        nearest(codes, codes, COUNT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(codes) ** 2 / 10, "all pairs are kept"


def test_many_equal_hashes_are_not_compared_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    def counted(first: np.ndarray, second: np.ndarray, out: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += out.size
        return xor(first, second, out=out)

    xor = np.bitwise_xor
    monkeypatch.setattr(np, "bitwise_xor", counted)
    codes = np.concatenate([hashes("random", 200), np.zeros(20_000, np.uint64)])
    found = nearest_earlier(codes, codes, np.arange(len(codes)), COUNT)
    assert (found[-19_000:] == [200, 201]).all()
    assert compared < 20 * len(codes)


def test_no_queries() -> None:
    assert nearest_earlier(hashes("random"), np.empty(0, np.uint64), np.empty(0, np.int64), COUNT).shape == (0, COUNT)

"""Search in an index: exact where it compares, near to it where it probes, and the same alone and in a batch."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.retrieval.codebook import Codebook, sampled
from royalty.models.retrieval.search import Shard, Vectors, stored

ITEMS, DIMENSIONS = 4_000, 48


def clustered(count: int, seed: int) -> np.ndarray:
    draws = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((40, DIMENSIONS))
    return (centres[draws.integers(0, 40, count)] + 0.5 * draws.standard_normal((count, DIMENSIONS))).astype(np.float32)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return clustered(ITEMS, 1)


@pytest.fixture(scope="module")
def codebook(features: np.ndarray) -> Codebook:
    return Codebook.learn(stored(features, "training").astype(np.float32), ITEMS)


def searched(features: np.ndarray, codebook: Codebook | None, removed: np.ndarray | None = None) -> Vectors:
    """The items in two shards."""
    vectors, half = stored(features, "training"), len(features) // 2
    parts = ((0, vectors[:half]), (half, vectors[half:]))
    return Vectors.of(
        [
            Shard(part, first, None if codebook is None else codebook.filled([part], first=first))
            for first, part in parts
        ],
        codebook,
        removed,
    )


def true_neighbours(features: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    unit = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    apart = np.linalg.norm(unit - query / np.linalg.norm(query), axis=1)
    order = np.argsort(apart, kind="stable")[:k]
    return apart[order], order


def test_comparing_all_items_is_exact(features: np.ndarray) -> None:
    vectors = searched(features, None)
    for query in clustered(20, 2):
        distances, numbers = vectors.nearest(query, 10)
        apart, order = true_neighbours(features, query, 10)
        assert np.abs(distances - apart).max() < 1e-3  # half precision
        assert len(np.intersect1d(numbers, order)) >= 9  # which may order two that are as near


def test_probed_lists_hold_the_nearest(features: np.ndarray, codebook: Codebook) -> None:
    assert codebook.lists == ITEMS // 39  # which faiss asks for; 2 sqrt(4,000) would be 126
    vectors, found = searched(features, codebook), []
    for query in clustered(50, 2):
        distances, _ = vectors.nearest(query, 20)
        found.append((distances <= true_neighbours(features, query, 20)[0][-1] + 1e-3).mean())
    assert np.mean(found) > 0.97
    few = [
        (vectors.nearest(query, 20, probes=1)[0] <= true_neighbours(features, query, 20)[0][-1] + 1e-3).mean()
        for query in clustered(50, 2)
    ]
    assert np.mean(few) < np.mean(found)


def test_distances_are_those_of_comparing_all(features: np.ndarray, codebook: Codebook) -> None:
    probed, compared = searched(features, codebook), searched(features, None)
    for query in clustered(10, 3):
        by_number = dict(zip(*reversed(compared.nearest(query, 200)), strict=True))
        distances, numbers = probed.nearest(query, 10)
        assert [by_number[number] for number in numbers] == distances.tolist()  # to the last bit


def test_the_copy_of_an_item_is_at_no_distance_and_the_first_of_equals_comes_first(features: np.ndarray) -> None:
    twice = np.concatenate([features[:100], features[:100]])
    distances, numbers = searched(twice, None).nearest(3 * features[7], 2)
    assert distances.tolist() == [0.0, 0.0]
    assert numbers.tolist() == [7, 107]


@pytest.mark.parametrize("coded", [True, False])
def test_removed_items_are_not_found_and_others_take_their_place(
    features: np.ndarray, codebook: Codebook, coded: bool
) -> None:
    book, query = codebook if coded else None, features[5]
    before = searched(features, book).nearest(query, 30)[1]
    removed = np.sort(before[:10])
    after = searched(features, book, removed).nearest(query, 20)[1]
    assert after.tolist() == before[10:].tolist()


@pytest.mark.parametrize("coded", [True, False])
def test_a_removal_equals_an_index_that_never_had_the_items(
    features: np.ndarray, codebook: Codebook, coded: bool
) -> None:
    book, removed = codebook if coded else None, np.arange(0, ITEMS, 3)
    kept = np.setdiff1d(np.arange(ITEMS), removed)
    with_removals, rebuilt = searched(features, book, removed), searched(features[kept], book)
    for query in clustered(20, 4):
        distances, numbers = with_removals.nearest(query, 15)
        again, rows = rebuilt.nearest(query, 15)
        assert distances.tolist() == again.tolist()
        assert numbers.tolist() == kept[rows].tolist()


def test_more_neighbours_than_the_lists_hold(features: np.ndarray, codebook: Codebook) -> None:
    distances, numbers = searched(features, codebook).nearest(features[0], ITEMS)
    assert sorted(numbers.tolist()) == list(range(ITEMS))
    assert (np.diff(distances) >= 0).all()


def test_a_codebook_is_the_same_after_it_was_stored(features: np.ndarray, codebook: Codebook) -> None:
    again = Codebook.from_bytes(codebook.to_bytes())
    assert again.to_bytes() == codebook.to_bytes()
    query = clustered(1, 5)[0]
    first, second = (searched(features, book).nearest(query, 10) for book in (codebook, again))
    assert [array.tolist() for array in first] == [array.tolist() for array in second]


@pytest.mark.parametrize("code", ["PQ16", "RaBitQ"])
def test_other_codes_find_the_same(features: np.ndarray, codebook: Codebook, code: str) -> None:
    other = Codebook.learn(stored(features, "training").astype(np.float32), ITEMS, code=code)
    query = features[11]
    found = [searched(features, book).nearest(query, 10)[1] for book in (codebook, other)]
    assert len(np.intersect1d(*found)) >= 9


def test_refusals(features: np.ndarray) -> None:
    vectors = searched(features[:50], None)
    with pytest.raises(InputError, match=r"dimensions of the items, 48; got shape \(3,\)"):
        vectors.nearest(np.ones(3, np.float32), 1)
    with pytest.raises(InputError, match="length 0"):
        vectors.nearest(np.zeros(DIMENSIONS, np.float32), 1)
    with pytest.raises(InputError, match="got k = 0"):
        vectors.nearest(features[0], 0)
    with pytest.raises(InputError, match="2 lists are learned from 78 vectors or more; got 60"):
        Codebook.learn(stored(features[:60], "training").astype(np.float32), 100)
    assert sampled(100) == 78

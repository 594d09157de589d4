"""Images in an index are compared by directions from the mean, as valuation compares them, at a temperature by rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from royalty.infra.attribution.shards import ShardStore
from royalty.models.valuation.attribution import attribution
from royalty.models.valuation.centring import centred
from royalty.models.valuation.neighbours import unit_vectors
from royalty.tasks.attribution import index
from royalty.tasks.attribution.attributing import ServedIndex
from royalty.tasks.attribution.description import Description
from tests.indexed import DIMENSIONS, description, table_of

ITEMS = 800
K = 25


@pytest.fixture(autouse=True)
def small_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "ROWS", 100)
    monkeypatch.setattr(index, "CALIBRATED", 100)


def rectified(count: int, seed: int = 0) -> np.ndarray:
    """Features that all point about the same way, as those of a network that ends with a rectifier."""
    draws = np.random.default_rng(seed).standard_normal((count, DIMENSIONS))
    return (3 + np.maximum(draws, -2)).astype(np.float32)


def pictured(folder: Path, features: np.ndarray, first: int = 0, **settings: Any) -> ShardStore:
    """An index of features that count as those of images, which are not compared for copies."""
    folder.mkdir()
    known = {"shape": (3, 8, 8), "encoder_key": "pictures", "copies": "separate", "k": K, **settings}
    index.build(ShardStore(folder), features, table_of(len(features), first=first), description(**known))
    return ShardStore(folder)


@pytest.mark.parametrize("least", [ITEMS // 2, 2 * ITEMS])
def test_distances_are_those_of_directions_from_the_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    monkeypatch.setattr(index, "LEAST", least)  # with and without lists
    train, queries = rectified(ITEMS), rectified(30, 1)
    served = ServedIndex.open(pictured(tmp_path / "index", train).folder)
    units = centred(unit_vectors(train, "training"), unit_vectors(queries, "query"))
    directions = [unit_vectors(side, "centred") for side in units]
    for query, direction in zip(queries, directions[1], strict=True):
        distances, numbers = served.nearest(query)
        apart = np.linalg.norm(directions[0] - direction, axis=1)
        assert distances == pytest.approx(apart[numbers], abs=5e-3)  # half precision
        assert len(np.intersect1d(numbers[:10], np.argsort(apart)[:10])) >= 9
    distances, numbers = served.nearest(train[7])
    assert (distances[0], numbers[0]) == (0.0, 7)


@pytest.mark.parametrize("least", [ITEMS // 4, 2 * ITEMS])
def test_the_mean_stays_until_it_is_learned_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    monkeypatch.setattr(index, "LEAST", least)
    train, queries = rectified(ITEMS), rectified(5, 1)
    store = pictured(tmp_path / "index", train[:300])
    built = store.manifest()
    index.add(store, train[300:], table_of(ITEMS - 300, first=300))
    index.remove(store, ids=[f"{number:064x}" for number in range(50)])
    index.compact(store)
    changed = store.manifest()
    assert built.mean == changed.mean
    query = ServedIndex.open(store.folder).nearest(queries[0])[0]
    index.compact(store, relearn=True)
    fresh = pictured(tmp_path / "fresh", train[50:], first=50).manifest()
    relearned = store.manifest()
    assert relearned.mean == fresh.mean != changed.mean
    assert (relearned.codebook, relearned.description) == (fresh.codebook, fresh.description)
    assert [shard.files for shard in relearned.shards] == [shard.files for shard in fresh.shards]
    assert ServedIndex.open(store.folder).nearest(queries[0])[0].tolist() != query.tolist()


def test_the_temperature_is_that_at_which_the_root_of_k_items_share_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CALIBRATED", ITEMS)
    train = rectified(ITEMS)
    served = ServedIndex.open(pictured(tmp_path / "index", train).folder)
    found = [served.nearest(features) for features in train]
    shared = [attribution(apart[1 : K + 1], temperature=served.about.shared_at, far=9).effective for apart, _ in found]
    assert np.mean(shared) == pytest.approx(np.sqrt(K), rel=1e-2)
    given = Description.of(pictured(tmp_path / "given", train, temperature=0.3).manifest())
    assert given.shared_at == 0.3


def test_few_items_and_items_that_look_the_same_have_distances(tmp_path: Path) -> None:
    alone = ServedIndex.open(pictured(tmp_path / "alone", rectified(1)).folder)
    assert alone.manifest.mean is None
    assert alone.nearest(rectified(1)[0])[0].tolist() == [0.0]
    same = ServedIndex.open(pictured(tmp_path / "same", np.repeat(rectified(1), 5, axis=0)).folder)
    assert same.nearest(rectified(1)[0])[0].tolist() == [0.0] * 5
    assert same.nearest(rectified(1, 3)[0])[0].tolist() == pytest.approx([1.0] * 5)

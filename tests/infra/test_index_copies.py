"""Near copies in an index share one place, whoever uploads them; adding and removing equals building."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from royalty.infra.attribution.shards import ShardStore
from royalty.models.retrieval.search import Vectors
from royalty.models.valuation.attribution import attribution, contributor_shares
from royalty.models.valuation.near_copies import near_copy_groups
from royalty.tasks.attribution import index
from royalty.tasks.attribution.attributing import ServedIndex
from royalty.tasks.attribution.description import COLUMNS
from tests.indexed import description
from tests.models.test_near_copies import scenes

ITEMS = 60
QUERIES = 40


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "ROWS", 50)
    monkeypatch.setattr(index, "CALIBRATED", 20)


def features_of(images: np.ndarray) -> np.ndarray:
    """Small pictures, less grey, so that directions differ."""
    return images[:, :, ::16, ::16].reshape(len(images), -1).astype(np.float32) - 127.5


def cut(image: np.ndarray, seed: int) -> np.ndarray:
    """A near copy: another brightness and contrast, with noise, and mirrored every second time."""
    generator = np.random.default_rng(seed)
    changed = image * generator.uniform(0.7, 1) + generator.uniform(0, 60) + generator.normal(0, 4, image.shape)
    return np.clip(changed[..., :: (-1) ** seed], 0, 255).astype(np.uint8)


def table(owners: list[str], dates: list[str] | None = None, *, first: int = 0) -> pa.Table:
    numbers = range(first, first + len(owners))
    columns = {
        "id": [f"{number:064x}" for number in numbers],
        "contributor": owners,
        "file_name": [f"{number}.png" for number in numbers],
        "date": dates or [""] * len(owners),
    }
    nothing = [""] * len(owners)
    return pa.table({name: pa.array(columns.get(name, nothing), pa.string()) for name in COLUMNS})


def built(folder: Path, images: np.ndarray, items: pa.Table, **settings: object) -> ShardStore:
    folder.mkdir()
    store = ShardStore(folder)
    about = description(shape=(3, 48, 48), encoder_key="pictures", **settings)
    index.build(store, features_of(images), items, about, images=images)
    return store


def earned(store: ShardStore, queries: np.ndarray, mean: np.ndarray | None = None) -> dict[str, float]:
    """Sum of the shares of each contributor, by the mean of another index if one is given."""
    served, totals = ServedIndex.open(store.folder), dict[str, float]()
    served.vectors = served.vectors if mean is None else replace(served.vectors, mean=mean)
    for query in queries:
        distances, numbers = served.nearest(query)
        divided = attribution(distances[: served.about.k], temperature=0.1, far=np.inf)
        sharing = served.sharing(numbers[: served.about.k], divided.shares)
        owners = served.rows(np.array([owner.number for owner in sharing]))["contributor"].to_pylist()
        for name, share in contributor_shares(np.array([owner.share for owner in sharing]), owners).items():
            totals[name] = totals.get(name, 0.0) + share
    return totals


def queries_near(images: np.ndarray) -> np.ndarray:
    """Generated images: blends of two training images."""
    generator = np.random.default_rng(5)
    pairs = generator.integers(0, len(images), (2, QUERIES))
    pairs[0] = np.arange(QUERIES) % 10  # among them those that are copied
    return features_of((0.7 * images[pairs[0]] + 0.3 * images[pairs[1]]).astype(np.uint8))


@pytest.mark.parametrize("copies", [1, 10, 100])
def test_copies_by_anybody_take_nothing_from_an_original(tmp_path: Path, copies: int) -> None:
    images = scenes(ITEMS)
    owners = ["Ada", "Bob"] + [f"other {number}" for number in range(ITEMS - 2)]
    queries = queries_near(images)
    alone = earned(built(tmp_path / "alone", images, table(owners)), queries)
    made = np.stack([cut(images[0], seed) for seed in range(copies)])
    every, people = np.concatenate([images, made]), [*owners, *["Eve"] * copies]
    beside = earned(built(tmp_path / "beside", every, table(people)), queries)
    for name, value in alone.items():
        assert beside[name] == pytest.approx(value, rel=0.02)
    assert "Eve" not in beside
    separate = earned(built(tmp_path / "separate", every, table(people), copies="separate"), queries)
    assert copies == 1 or separate["Ada"] < 0.9 * alone["Ada"]  # without groups, copies do take from it
    half = earned(built(tmp_path / "equal", every, table(people), division="equal"), queries)
    assert half["Ada"] == pytest.approx(alone["Ada"] / (copies + 1), rel=0.02)
    assert half["Ada"] + half["Eve"] == pytest.approx(alone["Ada"], rel=0.02)


def test_groups_are_those_of_the_set(tmp_path: Path) -> None:
    images = scenes(ITEMS)
    made = np.stack([cut(images[number % 7], number) for number in range(30)])
    every = np.concatenate([images, made])
    store = built(tmp_path / "index", every, table(["Ada"] * len(every)))
    expected = near_copy_groups(every, features_of(every)).groups
    np.testing.assert_array_equal(store.earliest(store.manifest()), expected)
    assert (expected[ITEMS:] == np.arange(30) % 7).mean() > 0.9


def test_copies_of_works_are_recognized_and_other_images_are_not(tmp_path: Path) -> None:
    images, others = scenes(ITEMS), scenes(20, seed=9)
    served = ServedIndex.open(built(tmp_path / "index", images, table(["Ada"] * ITEMS)).folder)
    every = np.arange(ITEMS)
    for number in range(20):
        ((found, similarity), *more) = served.copied(cut(images[number], number), every)
        assert (found, more) == (number, [])
        assert similarity >= served.about.alike > 0.7
        assert served.copied(others[number], every) == []
    separate = built(tmp_path / "separate", images, table(["Ada"] * ITEMS), copies="separate")
    assert ServedIndex.open(separate.folder).copied(images[0], every) == []  # it keeps no thumbnails


def test_the_earliest_by_date_has_the_share_and_is_shown(tmp_path: Path) -> None:
    images = scenes(ITEMS)
    every = np.concatenate([images, [cut(images[0], 0)], [images[1]]])
    dates = ["2026-01-01", *[""] * (ITEMS - 1), "2025-06-01", "2024-01-01"]
    items = table(["Ada", "Bob", *["other"] * (ITEMS - 2), "Eve", "Dan"], dates)
    ids = items["id"].to_pylist()
    items = items.set_column(0, "id", pa.array([*ids[:-1], ids[1]]))  # the last has the pixels of the second
    store = built(tmp_path / "index", every, items)
    served = ServedIndex.open(store.folder)
    assert served.every.count == ITEMS + 1
    assert served.vectors.count == ITEMS
    distances, numbers = served.nearest(features_of(images[:1])[0])
    found = served.rows(numbers[:1]).to_pylist()[0]
    assert (found["contributor"], found["date"], distances[0] > 0.01) == ("Eve", "2025-06-01", True)
    assert served.sharing(numbers[:1], np.ones(1))[0].copies == 1
    nearest, number = (array[0] for array in served.nearest_of_all(features_of(images[:1])[0]))
    assert nearest < 1e-3
    assert served.rows(served.earliest(np.array([number])))["contributor"].to_pylist() == ["Eve"]
    exact = served.nearest(features_of(images[1:2])[0])[1]
    assert served.rows(exact[:1])["contributor"].to_pylist() == ["Dan"]  # and not Bob, who uploaded it later


@pytest.mark.parametrize("least", [index.LEAST, 40])
def test_adding_and_removing_equal_a_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    monkeypatch.setattr(index, "LEAST", least)  # with and without lists
    images = scenes(ITEMS)
    made = np.stack([cut(images[number % 5], number) for number in range(20)])
    every = np.concatenate([images, made])
    items = table([f"person {number}" for number in range(len(every))])
    store = built(tmp_path / "whole", every, items)
    added = built(tmp_path / "added", every[:50], items.slice(0, 50))
    for start in (50, 65):
        part = slice(start, start + 15)
        index.add(added, features_of(every[part]), items.slice(start, 15), images=every[part])
    assert added.manifest().rows == len(every)
    np.testing.assert_array_equal(added.earliest(added.manifest()), store.earliest(store.manifest()))

    gone = [0, 1, 7, 62, 66]  # originals, an image without copies, and copies
    index.remove(store, ids=[f"{number:064x}" for number in gone])
    kept = np.setdiff1d(np.arange(len(every)), gone)
    rebuilt = built(tmp_path / "rebuilt", every[kept], items.take(kept))
    expected = rebuilt.earliest(rebuilt.manifest())
    removed = store.earliest(store.manifest())
    assert expected is not None
    assert removed is not None
    np.testing.assert_array_equal(removed[kept], kept[expected])
    assert (expected != np.arange(len(kept))).sum() > 10
    queries = queries_near(images)
    mean = store.mean(store.manifest())  # which stays that of the build until it is learned anew
    expected_shares = earned(rebuilt, queries, mean)
    assert earned(store, queries) == pytest.approx(expected_shares, rel=1e-9 if least > len(every) else 0.02)
    index.compact(store, relearn=True)
    compacted, fresh = store.manifest(), rebuilt.manifest()
    assert [shard.files for shard in compacted.shards] == [shard.files for shard in fresh.shards]
    assert (compacted.compared, compacted.earliest) == (fresh.compared, fresh.earliest)
    assert compacted.mean == fresh.mean
    assert compacted.description == fresh.description
    assert earned(store, queries) == earned(rebuilt, queries)


def test_nearest_earlier_items_are_the_same_with_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = scenes(200)
    found = []
    for least in (1000, 100):
        monkeypatch.setattr(index, "LEAST", least)
        store = built(tmp_path / str(least), images, table(["Ada"] * 200), copies="separate")
        manifest = store.manifest()
        vectors: Vectors = index.opened(store, manifest, store.open(manifest))
        assert (vectors.codebook is None) == (least == 1000)
        found.append(vectors.nearest_earlier(np.arange(0, 200, 7), 6))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] < np.arange(0, 200, 7)[:, None]).all()
    units = features_of(images) / np.linalg.norm(features_of(images), axis=1, keepdims=True)
    np.testing.assert_array_equal(found[0][-1], np.argsort(-(units[:196] @ units[196]))[:6])
    assert (found[0][0] == -1).all()

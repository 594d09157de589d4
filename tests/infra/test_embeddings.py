"""The store of embeddings: every item once, whole shards, and no more read than asked for."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.embeddings import EmbeddingStore


def identities(numbers: range) -> list[str]:
    return [f"{number:064x}" for number in numbers]


def embedded(ids: list[str], dimensions: int = 5) -> np.ndarray:
    """A stand-in for an encoder: each id has features of its own."""
    return np.array([np.arange(dimensions) + int(identity, 16) for identity in ids], dtype=np.float32)


def fill(folder: Path, numbers: range) -> int:
    """Embed what the store does not have, in batches, as a task would; how many were embedded."""
    store, computed = EmbeddingStore(folder), 0
    for start in range(0, len(numbers), 10):
        ids = identities(numbers[start : start + 10])
        found, _ = store.lookup("encoder", ids)
        missing = [identity for identity, there in zip(ids, found, strict=True) if not there]
        store.add("encoder", missing, embedded(missing).reshape(len(missing), 5))
        computed += len(missing)
    return computed


def test_found_in_the_order_asked_for(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path)
    found, features = store.lookup("encoder", identities(range(3)))
    assert not found.any()
    assert features.shape == (0, 0)
    ids = identities(range(20))
    for part in (ids[5:10], ids[:5], ids[12:20]):
        store.add("encoder", part[::-1], embedded(part[::-1]))
    asked = [ids[11], ids[19], ids[0], ids[7], ids[0], ids[10]]
    for reader in (store, EmbeddingStore(tmp_path)):
        found, features = reader.lookup("encoder", asked)
        assert found.tolist() == [False, True, True, True, True, False]
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, embedded([ids[19], ids[0], ids[7], ids[0]]))
    assert store.lookup("encoder", [])[0].shape == (0,)
    assert not store.lookup("another", asked)[0].any()


def test_nothing_is_stored_twice_or_in_another_width(tmp_path: Path) -> None:
    store, ids = EmbeddingStore(tmp_path), identities(range(8))
    store.add("encoder", [*ids, *ids], embedded([*ids, *ids]))
    before = list(tmp_path.rglob("*.rows"))
    store.add("encoder", ids, embedded(ids) + 1)
    assert list(tmp_path.rglob("*.rows")) == before
    np.testing.assert_array_equal(store.lookup("encoder", ids)[1], embedded(ids))
    for given in (ids, identities(range(100, 108))):
        with pytest.raises(ValueError, match="5 dimensions, got 7"):
            store.add("encoder", given, embedded(given, 7))
    with pytest.raises(ValueError, match="8 IDs need as many rows"):
        store.add("encoder", ids, embedded(ids[:3]))


def test_two_processes_add_at_once_and_a_third_computes_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        counts = pool.starmap(fill, [(tmp_path, range(200)), (tmp_path, range(100, 300))])
    assert 300 <= sum(counts) <= 400
    assert fill(tmp_path, range(300)) == 0
    ids = identities(range(300))
    found, features = EmbeddingStore(tmp_path).lookup("encoder", ids)
    assert found.all()
    np.testing.assert_array_equal(features, embedded(ids))
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.parametrize("harm", ["truncate", "flip"])
def test_harmed_shard_is_refused_by_name(tmp_path: Path, harm: str) -> None:
    ids = identities(range(50))
    EmbeddingStore(tmp_path).add("encoder", ids, embedded(ids))
    (shard,) = tmp_path.rglob("*.rows")
    payload = bytearray(shard.read_bytes())
    if harm == "truncate":
        payload = payload[:-100]
    else:
        payload[300] ^= 1
    shard.write_bytes(payload)
    with pytest.raises(StoreError, match=shard.name):
        EmbeddingStore(tmp_path).lookup("encoder", ids[:1])


def test_rows_are_mapped_shards_checked_once_and_files_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, ids = EmbeddingStore(tmp_path), identities(range(100))
    open_before = len(list(Path("/dev/fd").iterdir()))
    for start in range(0, 100, 5):
        store.add("encoder", ids[start : start + 5], embedded(ids[start : start + 5]))
    assert store.lookup("encoder", ids)[0].all()
    assert len(list(Path("/dev/fd").iterdir())) <= open_before
    for path in tmp_path.rglob("*.rows"):
        assert all(isinstance(array, np.memmap) for array in store._mapped(path))
    monkeypatch.setattr(
        "royalty.infra.stores.embeddings.hashlib.file_digest", lambda *_: pytest.fail("a shard was read twice")
    )
    assert store.lookup("encoder", ids[10:20])[0].all()

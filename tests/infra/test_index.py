"""The files of an index: built, changed and compacted; nothing is lost by another writer, a kill or a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from royalty.infra.attribution.shards import MANIFEST, STATED, Manifest, ShardStore
from royalty.infra.stores.artifacts import StoreError
from royalty.models.base.errors import InputError
from royalty.models.retrieval.search import Vectors
from royalty.tasks.attribution import index
from royalty.tasks.attribution.attributing import ServedIndex
from royalty.tasks.attribution.description import Description
from tests.indexed import DIMENSIONS, built, description, features_of, table_of

SMALL = 400
"""Fewest items with lists in these tests."""


@pytest.fixture(autouse=True)
def small_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "LEAST", SMALL)
    monkeypatch.setattr(index, "ROWS", 100)
    monkeypatch.setattr(index, "CALIBRATED", 10)


def vectors_of(store: ShardStore, manifest: Manifest) -> Vectors:
    return index.opened(store, manifest, store.open(manifest))


def ids_of(store: ShardStore, manifest: Manifest) -> np.ndarray:
    return np.concatenate([part.items["id"].to_numpy() for part in store.open(manifest)])


def answers(store: ShardStore, queries: np.ndarray) -> list[tuple[list[float], list[str]]]:
    """Distances, and ids of the nearest items."""
    manifest = store.manifest()
    vectors, ids = vectors_of(store, manifest), ids_of(store, manifest)
    found = [vectors.nearest(query, 5) for query in queries]
    return [(distances.tolist(), ids[numbers].tolist()) for distances, numbers in found]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Counted:
    """Features that remember how many rows are read at a time."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape, self.most = rows, rows.shape, 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        some: np.ndarray = self.rows[rows]
        self.most = max(self.most, len(some))
        return some


@pytest.mark.parametrize("count", [SMALL - 1, 2 * SMALL])
def test_features_are_read_in_blocks_and_give_the_same_index(tmp_path: Path, count: int) -> None:
    """Also if some are of the same item."""
    features, items = features_of(count + 2), pa.concat_tables([table_of(count), table_of(2)])
    whole, streamed = ShardStore(tmp_path / "whole"), ShardStore(tmp_path / "streamed")
    counted = Counted(features)
    for store, given in ((whole, features), (streamed, counted)):
        store.folder.mkdir()
        index.build(store, given, items, description())
        index.add(store, given, items, stored_as="again")
    assert counted.most == index.ROWS
    names = [shard.files for shard in whole.manifest().shards], [shard.files for shard in streamed.manifest().shards]
    assert names[0] == names[1]
    assert whole.manifest().description == streamed.manifest().description
    fresh = Counted(features_of(count, seed=1))
    index.add(streamed, fresh, table_of(count, first=count))
    assert fresh.most == index.ROWS


@pytest.mark.parametrize("count", [SMALL - 1, SMALL])
def test_what_is_added_is_found(tmp_path: Path, count: int) -> None:
    store, manifest = built(tmp_path, count)
    assert (manifest.codebook is None) == (count < SMALL)
    before = answers(store, features_of(5))
    index.add(store, features_of(20, seed=1), table_of(20, first=count))
    for (_, then), (_, now) in zip(before, answers(store, features_of(5)), strict=True):
        old = [identity for identity in now if int(identity, 16) < count]
        assert old == then[: len(old)]  # the new ones came between
    ((nearest, *_), (found, *_)) = answers(store, features_of(20, seed=1)[3:4])[0]
    assert nearest == 0
    assert found == f"{count + 3:064x}"
    again = index.add(store, features_of(20, seed=1), table_of(20, first=count))
    assert again == store.manifest()
    assert again.rows == count + 20


@pytest.mark.parametrize("count", [SMALL // 2, 2 * SMALL])
def test_removing_and_compacting_equal_a_rebuild(tmp_path: Path, count: int) -> None:
    store, _ = built(tmp_path, count)
    gone = list(range(0, count, 4))
    kept = np.setdiff1d(np.arange(count), gone)
    index.remove(store, ids=[f"{number:064x}" for number in gone])
    queries = features_of(20, seed=2)
    removed = answers(store, queries)
    assert not {name for _, found in removed for name in found} & {f"{number:064x}" for number in gone}
    index.compact(store)
    assert answers(store, queries) == removed
    index.compact(store, relearn=True)
    rebuilt = ShardStore(tmp_path / "rebuilt")
    rebuilt.folder.mkdir()
    fresh = index.build(rebuilt, features_of(count)[kept], table_of(count).take(kept), description())
    compacted = store.manifest()
    assert compacted.codebook == fresh.codebook
    assert Description.of(compacted) == Description.of(fresh)
    assert [shard.files for shard in compacted.shards] == [shard.files for shard in fresh.shards]  # byte for byte
    assert answers(store, queries) == answers(rebuilt, queries)


def test_a_set_in_several_shards_is_searched_as_one(tmp_path: Path) -> None:
    whole, _ = built(tmp_path, 2 * SMALL)
    parts = ShardStore(tmp_path / "parts")
    parts.folder.mkdir()
    manifest = index.build(parts, features_of(2 * SMALL), table_of(2 * SMALL), description(), shard=150)
    assert len(manifest.shards) == 6
    queries = features_of(20, seed=3)
    assert answers(whole, queries) == answers(parts, queries)


def test_all_items_of_a_contributor_are_removed_and_what_others_share_stays(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    manifest = index.remove(store, contributor="Bob")
    assert Description.of(manifest).contributors == ("Ada", "Cyd")
    assert vectors_of(store, manifest).count == 200
    with pytest.raises(InputError, match="no item of the index belongs to 'Bob' alone"):
        index.remove(store, contributor="Bob")


def test_an_item_that_is_there_twice_has_both_contributors(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    table = table_of(2).set_column(0, "id", [["a" * 64, "a" * 64]])
    manifest = index.build(store, features_of(2), table, description())
    assert manifest.rows == 1
    assert store.open(manifest)[0].items["contributor"].to_pylist() == ["Ada;Bob"]


def test_bad_input_changes_nothing(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    before = files_of(store.folder)
    bad = features_of(3)
    bad[1] = 0
    with pytest.raises(InputError, match="training row 1"):
        index.build(store, bad, table_of(3), description())
    with pytest.raises(InputError, match=r"have 16 features, and the new ones have shape \(3, 5\)"):
        index.add(store, np.ones((3, 5), np.float32), table_of(3))
    with pytest.raises(InputError, match="2 are not in the index: no, none"):
        index.remove(store, ids=["none", "no", f"{1:064x}"])
    with pytest.raises(InputError, match="would remove the last"):
        index.remove(store, ids=[f"{number:064x}" for number in range(300)])
    with pytest.raises(InputError, match="at least one item"):
        index.build(store, features_of(0), table_of(0), description())
    assert files_of(store.folder) == before


def test_one_process_at_a_time_changes_an_index(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    with store.writing(), pytest.raises(StoreError, match="another is changing"):
        index.remove(store, contributor="Bob")
    index.remove(store, contributor="Bob")


def test_who_searches_is_not_disturbed_by_who_compacts(tmp_path: Path) -> None:
    store, manifest = built(tmp_path)
    vectors, query = vectors_of(store, manifest), features_of(1)[0]
    before = [array.tolist() for array in vectors.nearest(query, 5)]
    index.remove(store, contributor="Bob")
    index.compact(store)
    assert [array.tolist() for array in vectors.nearest(query, 5)] == before


@contextmanager
def little_disk(bytes_: int) -> Iterator[None]:
    """Files that this process writes have at most so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


KILLED = """
import os, signal, sys
from pathlib import Path
from royalty.infra.attribution.shards import ShardStore
from royalty.tasks.attribution import index
from tests.indexed import features_of, table_of
index._calibrated = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # shards are written, the manifest is not
index.add(ShardStore(Path(sys.argv[1])), features_of(50, seed=1), table_of(50, first=1_000))
"""


@pytest.mark.parametrize("bytes_", [1_000, 40_000, 70_000])
def test_a_full_disk_is_one_error_and_loses_nothing(tmp_path: Path, bytes_: int) -> None:
    store, _ = built(tmp_path)
    before, found = files_of(store.folder), answers(store, features_of(5))
    with little_disk(bytes_), pytest.raises(StoreError, match="Free some space"):
        index.add(store, features_of(2_000, seed=1), table_of(2_000, first=1_000))
    assert files_of(store.folder) == before
    assert answers(store, features_of(5)) == found


@pytest.mark.kill
def test_a_killed_writer_loses_nothing_and_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    store, _ = built(tmp_path)
    before, found = files_of(store.folder), answers(store, features_of(5))
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    killed = subprocess.run([sys.executable, "-c", KILLED, store.folder], cwd=root, env=environment)
    assert killed.returncode == -signal.SIGKILL
    left = set(files_of(store.folder)) - set(before)
    assert left  # what it had written so far
    assert answers(store, features_of(5)) == found
    index.remove(store, contributor="Bob")
    assert not set(files_of(store.folder)) & {name for name in left if name != "writing.lock"}


def test_damage_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no index in"):
        ShardStore(tmp_path / "none").manifest()
    store, manifest = built(tmp_path)
    assert store.problems(manifest) == []
    file = store.folder / manifest.shards[0].name / "vectors"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert store.problems(manifest) == [f"{file} has changed since it was written"]
    file.write_bytes(content[:-2])
    with pytest.raises(StoreError, match=r"vectors whole, and it is missing or cut off"):
        store.manifest()
    (store.folder / MANIFEST).write_text((store.folder / MANIFEST).read_text().replace('"format": 3', '"format": 9'))
    with pytest.raises(StoreError, match=r"layout 3, and .* has layout 9"):
        store.manifest()
    (store.folder / MANIFEST).write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        store.manifest()


def test_an_index_by_other_code_is_refused_by_name(tmp_path: Path) -> None:
    store, _ = built(tmp_path, code="0" * 64)
    with pytest.raises(StoreError, match=rf"{store.folder} was built by other code \(000000000000"):
        ServedIndex.open(store.folder)


def test_vectors_take_two_bytes_a_dimension(tmp_path: Path) -> None:
    _, manifest = built(tmp_path, SMALL)
    files = manifest.shards[0].files
    assert files["vectors"][0] == 2 * SMALL * DIMENSIONS


def test_items_of_an_index_of_an_earlier_version_state_less(tmp_path: Path) -> None:
    """Items that are added state everything."""
    earlier = table_of(50).drop_columns(list(STATED))
    store = ShardStore(tmp_path)
    index.build(store, features_of(50), earlier, description())
    index.add(store, features_of(51), table_of(51))
    rows = ServedIndex.open(tmp_path).rows(np.array([0, 50]))
    assert rows["author"].to_pylist() == ["", "Ann"]
    compacted = index.compact(store)
    assert pa.concat_tables([part.items for part in store.open(compacted)])["author"].to_pylist()[-1] == "Ann"

"""Artifacts and run store: whole or not at all, once, and never changed."""

from __future__ import annotations

import gc
import importlib
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import ValidationError

from royalty.infra.processes.importing import collection_paused
from royalty.infra.settings import Settings
from royalty.infra.stores import artifacts, keys, sources
from royalty.infra.stores.artifacts import ArtifactStore, StoreError, write_whole
from royalty.infra.stores.database import open_database
from royalty.infra.stores.keys import _module, _origin, code_version, digest_of, modules_run_by
from royalty.infra.stores.runstore import CoalitionRecord, ConfigConflict, MeasurementRecord, RunStore, StageRecord
from royalty.infra.workspace import check_home, open_workspace


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))


def test_artifacts_are_stored_once_and_verified(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    digest = store.put(b"payload")
    before = store.path(digest).stat().st_mtime_ns
    assert store.put(b"payload") == digest
    assert store.path(digest).stat().st_mtime_ns == before
    assert store.get(digest) == b"payload"
    store.path(digest).write_bytes(b"changed")
    with pytest.raises(StoreError, match="has changed since"):
        store.get(digest)
    store.path(digest).unlink()
    with pytest.raises(StoreError, match="is not in"):
        store.get(digest)


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("royalty.infra.stores.artifacts.os.fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device.*ROYALTY_HOME"):
        write_whole(tmp_path / "file", b"payload")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_home_and_full_disk_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*ROYALTY_HOME"):
        check_home(Settings(home=tmp_path / "file" / "home"))
    monkeypatch.setattr("royalty.infra.workspace.FREE_SPACE", 2**60)
    with pytest.raises(StoreError, match=r"needs \d+ MiB free in .*, but only \d+ MiB are free"):
        check_home(Settings(home=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_store_in_s3_without_its_packages_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, artifacts.REMOTE, raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        StoreError, match=r"ROYALTY_ARTIFACTS=s3://bucket needs packages .* `pip install 'royalty\[s3\]'`"
    ):
        check_home(Settings(home=tmp_path, artifacts="s3://bucket/"))


@pytest.mark.parametrize("address", ["bucket", "s3://", "https://host/bucket", "s3://key:secret@bucket", "s3://b/a b"])
def test_an_address_that_is_no_bucket_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="ROYALTY_ARTIFACTS must be the address of a bucket"):
        Settings(artifacts=address)


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    homes = tmp_path / "looked-at", tmp_path / "opened"
    check_home(Settings(home=homes[0]))
    open_workspace(Settings(home=homes[1]))
    assert [mode(home) for home in homes] == [0o700, 0o700]
    for home in homes:
        home.chmod(0o755)  # as earlier versions made it
        check_home(Settings(home=home))
        assert mode(home) == 0o700


def test_a_folder_that_is_not_the_homes_alone_keeps_its_permissions(tmp_path: Path) -> None:
    shared, mixed, sticky = (tmp_path / name for name in ("shared", "mixed", "sticky"))
    (tmp_path / "mixed" / "letters").mkdir(parents=True)
    for folder, wide in ((shared, 0o2770), (mixed, 0o755), (sticky, 0o1777)):
        folder.mkdir(exist_ok=True)
        folder.chmod(wide)
        (folder / "artifacts").mkdir()
        check_home(Settings(home=folder))
        assert mode(folder) == wide


def test_stage_is_recorded_once_and_found(runs: RunStore) -> None:
    record = StageRecord("train", "k", {"seed": 0}, {"model": "abc"}, 1.5)
    assert runs.stage("k") is None
    runs.record_stage(record)
    runs.record_stage(record.with_outputs(model="other"))
    found = runs.stage("k")
    assert found is not None
    assert found.reused
    assert found.outputs == {"model": "abc"}


def test_stages_of_one_second_keep_their_order(runs: RunStore) -> None:
    keys = list("dbfaec")
    for key in keys:
        runs.record_stage(StageRecord("train", key, {}, {}, 0.1))
    assert [record.key for record in runs.stages("train")] == keys


def test_coalition_rows(runs: RunStore) -> None:
    record = CoalitionRecord("k", ["ann"], "sparsified", 0, 3, 1.0, "cpu", "abc")
    failed = CoalitionRecord("f", ["bob"], "sparsified", 0, 3, 1.0, "cpu", None, "diverged")
    for row in (record, failed, record):
        runs.record_coalition(row)
    assert runs.coalitions(["k", "f", "missing", "k"]) == {"k": record, "f": failed}
    measured = MeasurementRecord("m", "k", "inception-score", 0, 1.25, 0.5, 0.1)
    runs.record_measurement(measured)
    assert runs.measurements(["m"]) == {"m": measured}


def test_the_latest_anchor_of_a_name_serves(runs: RunStore) -> None:
    assert runs.anchor("demo") is None
    for stages in ({"train": "a"}, {"train": "a"}, {"train": "b"}):
        runs.record_anchor("demo", stages)
    assert runs.anchor("demo").stages == {"train": "b"}
    runs.record_anchor("other", {"train": "c"})
    assert runs.anchor("demo").stages == {"train": "b"}


def test_name_stands_for_one_configuration(runs: RunStore) -> None:
    runs.claim_name("demo", {"seed": 0, "data": {"source": "digits"}})
    runs.claim_name("demo", {"seed": 0, "data": {"source": "digits"}})
    with pytest.raises(ConfigConflict, match=r"(?s)data\.source: was 'digits', is now 'folder'.*--name"):
        runs.claim_name("demo", {"seed": 0, "data": {"source": "folder"}})


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(worker: int) -> None:
        store = RunStore(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
        for index in range(20):
            store.record_stage(StageRecord("s", f"{worker}-{index}", {}, {}, 0.0))

    open_database(f"sqlite:///{tmp_path / 'royalty.db'}")
    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = RunStore(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
    assert all(store.stage(f"{worker}-{index}") for worker in range(4) for index in range(20))


def test_keys_are_equal_for_equal_values() -> None:
    assert digest_of({"b": 1, "a": [1.5, None]}) == digest_of({"a": [1.5, None], "b": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_code_version_ignores_comments_and_sees_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "numeric_sample.py"
    versions = []
    for source in (
        "def f(x):\n    return x + 1\n",
        'def f(x):\n    """Doc."""\n    return x + 1  # why\n',
        "def f(x):\n    return x + 2\n",
    ):
        module.write_text(source)
        for known in (code_version, modules_run_by, _module, _origin):
            known.cache_clear()  # a process reads its code once
        versions.append(code_version("numeric_sample"))
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize(
    ("imports", "changed"),
    [
        ("from . import deep", "own/inner/deep.py"),
        ("from .deep import value", "own/inner/deep.py"),
        ("from .. import above", "own/above.py"),
        ("from ..above import value", "own/above.py"),
        ("def late():\n    from .deep import value", "own/inner/deep.py"),
        ("import own.above", "own/above.py"),
        ("from own.inner.deep import value", "own/inner/deep.py"),
        ("import own_helper", "own_helper.py"),
        ("from .deep import value", "own/helper_of_deep.py"),
        ("import json", "own/__init__.py"),
        ("from ..... import beyond", "own/inner/measured.py"),
    ],
)
def test_code_version_follows_the_imports_of_a_users_module(
    imports: str, changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    plain = ("__init__", "inner/__init__", "above", "helper_of_deep", "unused")
    files = {name: "value = 0\n" for name in (*(f"own/{file}.py" for file in plain), "own_helper.py")}
    files |= {"own/inner/measured.py": imports, "own/inner/deep.py": "from ..helper_of_deep import value\n"}
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)

    def version() -> str:
        for known in (code_version, modules_run_by, _module, _origin, keys._is_library):
            known.cache_clear()  # a process reads its code once
        importlib.invalidate_caches()
        return code_version("own.inner.measured")

    before = version()
    (tmp_path / "own/unused.py").write_text("value = 1\n")
    assert version() == before
    (tmp_path / changed).write_text(files[changed] + "\nother = 1\n")
    assert version() != before


def test_source_files_are_parsed_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, file = tmp_path / "sample.py", tmp_path / "cache" / "sources.json"
    parsings: list[str] = []
    parse = sources.parsed
    monkeypatch.setattr(sources, "parsed", lambda text: (parsings.append(text), parse(text))[1])

    def read() -> sources.Source:
        cache = sources.SourceCache()  # as in a new process
        cache.open(file)
        source = cache.read(module)
        cache.save()
        return source

    module.write_text("import json\nx = 1\n")
    first = read()
    assert read() == first == parse("import json\nx = 1\n")
    assert len(parsings) == 1
    module.write_text("import csv\nx = 1\n")
    assert read().imported == ["csv"]
    module.write_text("import json\nx = 1\n")
    assert read() == first
    assert len(parsings) == 2

    monkeypatch.setattr(sources, "_reader", lambda: "another Python")  # whose syntax trees have other digests
    assert read() == first
    assert len(parsings) == 3
    file.write_text("{")  # by a damaged disk
    assert read() == first
    assert len(parsings) == 4


@pytest.mark.parametrize("enabled", [True, False])
def test_collections_are_paused_while_libraries_are_imported_and_then_as_before(enabled: bool) -> None:
    before = gc.isenabled()
    switch = {True: gc.enable, False: gc.disable}
    try:
        switch[enabled]()
        with suppress(ImportError), collection_paused():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == enabled
    finally:
        switch[before]()


@pytest.mark.parametrize("library", ["pandas", "pyarrow", "matplotlib", "pillow", "transformers", "accelerate"])
def test_code_version_covers_libraries_and_those_that_work_for_them(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "drawing_sample.py").write_text("import matplotlib.pyplot\nimport pandas as pd\nimport transformers\n")
    versions, installed = [], keys.version
    for upgraded in ("", library, "faiss-cpu"):
        for known in (code_version, modules_run_by, _module, _origin, keys._version):
            known.cache_clear()
        monkeypatch.setattr(keys, "version", lambda name, new=upgraded: "9" if name == new else installed(name))
        versions.append(code_version("drawing_sample"))
    assert versions[0] == versions[2] != versions[1]


def test_code_version_covers_what_is_imported() -> None:
    assert code_version("royalty.models.generators.ddpm") != code_version("royalty.models.generators.pruning")
    with pytest.raises(ValueError, match="modules with source files"):
        code_version("models.nothing")

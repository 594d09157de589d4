"""Databases of a home are created for their owner alone, whatever the permissions of the user's other files are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from royalty.infra.attribution.usage_log import UsageLog
from royalty.infra.settings import Settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.private import keep_private
from royalty.infra.tracking import client
from royalty.infra.tracking.client import open_tracking
from royalty.infra.workspace import open_workspace


@pytest.fixture(autouse=True)
def open_to_all() -> Iterator[None]:
    """As if the user let all others read and write new files."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Of the databases in a folder, and of what SQLite keeps beside them."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.db*")}


def test_run_store_ledger_and_their_journals(tmp_path: Path) -> None:
    space = open_workspace(Settings(home=tmp_path / "home"))
    space.runs.claim_name("a", {})
    assert modes(tmp_path) == dict.fromkeys(["royalty.db", "royalty.db-wal", "royalty.db-shm"], 0o600)


@pytest.mark.parametrize("from_template", [True, False])
def test_the_database_of_mlflow(tmp_path: Path, from_template: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not from_template:
        monkeypatch.setattr(client, "template", lambda library: tmp_path / library)
    (tmp_path / "home" / "mlflow").mkdir(mode=0o755, parents=True)
    settings = Settings(home=tmp_path / "home")
    open_tracking(settings).prepare()
    assert modes(tmp_path) == {"mlflow.db": 0o600}
    (tmp_path / "home" / "mlflow" / "mlflow.db").chmod(0o644)
    open_tracking.cache_clear()
    open_tracking(settings)
    assert modes(tmp_path) == {"mlflow.db": 0o600}


def test_the_log_of_attributions(tmp_path: Path) -> None:
    UsageLog(tmp_path / "log.db")
    assert set(modes(tmp_path).values()) == {0o600}


def test_what_earlier_versions_left_readable_is_restricted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("old.db", "old.db-wal", "old.db-shm"):
        (tmp_path / name).touch(0o644)
    keep_private(tmp_path / "old.db")
    assert modes(tmp_path) == dict.fromkeys(["old.db", "old.db-wal", "old.db-shm"], 0o600)


def test_a_group_that_may_write_the_folder_may_use_its_databases(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    (tmp_path / "old.db").touch(0o664)
    keep_private(tmp_path / "old.db")
    keep_private(tmp_path / "new.db")
    assert modes(tmp_path) == {"old.db": 0o660, "new.db": 0o660}


def test_a_link_is_followed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "linked.db").symlink_to(tmp_path / "there.db")
    keep_private(tmp_path / "linked.db")
    assert modes(tmp_path) == dict.fromkeys(["linked.db", "there.db"], 0o600)


@pytest.mark.parametrize(("folder", "file"), [(0o755, 0o600), (0o2775, 0o660)])
def test_artifacts_are_for_the_group_where_it_may_write_the_folder(folder: int, file: int, tmp_path: Path) -> None:
    tmp_path.chmod(folder)
    write_whole(tmp_path / "a.bin", b"a")
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == file

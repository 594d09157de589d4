"""Empty databases that are copied into new homes."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from royalty.infra.settings import Settings
from royalty.infra.stores.templates import save_template, template
from royalty.infra.tracking.client import create_database, open_tracking


def columns(database: Path) -> set[tuple[str, str, str]]:
    """Tables, their columns and types."""
    listed = "select t.name, c.name, c.type from sqlite_master t join pragma_table_info(t.name) c"
    with closing(sqlite3.connect(database)) as connection:
        return set(connection.execute(listed).fetchall())


@pytest.mark.slow
def test_a_home_from_a_copy_is_like_one_that_mlflow_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installed"))
    made = open_tracking(Settings(home=tmp_path / "made"))  # there is nothing to copy yet
    create_database(tmp_path / "empty.db")
    save_template("mlflow", tmp_path / "empty.db")
    assert template("mlflow").is_relative_to(tmp_path)

    monkeypatch.setattr("royalty.infra.tracking.client.create_database", lambda path: pytest.fail("it was copied"))
    copied = open_tracking(Settings(home=tmp_path / "copied"))
    assert columns(tmp_path / "copied" / "mlflow" / "mlflow.db") == columns(tmp_path / "made" / "mlflow" / "mlflow.db")
    assert copied.experiments() == made.experiments()
    run = copied.start(copied.RUNS, "a run", key="a")
    assert copied.client.get_run(run).info.artifact_uri.startswith(str(tmp_path / "copied"))

"""A finished run is repeated from its stores, without a server and without a flow run."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LONG, ROYALTY, SMALL, Credited, environment_of

pytestmark = pytest.mark.slow

PROPOSED = SMALL.replace("post: true", "post: false")


def result_of(folder: Path) -> dict[str, Any]:
    home = folder / "home"
    done = subprocess.run(
        [ROYALTY, "run", "--config", "proposed.yaml", "--json"],
        env=environment_of(home) | {"PREFECT_HOME": str(home / "prefect")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def flow_runs(home: Path) -> int:
    with closing(sqlite3.connect(home / "prefect" / "prefect.db")) as connection:
        [(count,)] = connection.execute("select count(*) from flow_run").fetchall()
    return int(count)


def test_a_run_starts_a_server_only_if_something_is_missing(credited: Credited, tmp_path: Path) -> None:
    home = credited.copy_to(tmp_path)
    (tmp_path / "proposed.yaml").write_text(PROPOSED)
    first, flows = result_of(tmp_path), flow_runs(home)

    log, report = home / "prefect" / "server.log", Path(first["folder"]) / "report.html"
    page = report.read_bytes()
    log.unlink()
    report.unlink()
    again = result_of(tmp_path)
    assert {**again, "timings": 0, "measured": 0} == {**first, "timings": 0, "measured": 0}
    assert again["measured"] == 0
    assert all(timing["reused"] for timing in again["timings"])
    assert report.read_bytes() == page
    assert not log.exists()
    assert flow_runs(home) == flows

    [stored] = [path for path in (home / "artifacts").rglob("*") if path.is_file() and path.read_bytes() == page]
    stored.unlink()
    result_of(tmp_path)
    assert log.exists()
    assert flow_runs(home) == flows + 1

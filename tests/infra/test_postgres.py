"""The throwaway server: kept data over a restart, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from royalty.infra.servers.postgres import throwaway_postgres
from royalty.infra.stores.artifacts import StoreError


@pytest.mark.postgres
def test_it_is_stopped_started_again_with_what_it_held_and_removed() -> None:
    with throwaway_postgres() as server:
        engine = create_engine(server.create_database("held"), pool_pre_ping=True)
        with engine.begin() as connection:
            connection.execute(text("create table t as select 1 as x"))
        server.stop()
        with pytest.raises(OperationalError):
            engine.connect()
        server.start()
        with engine.connect() as connection:
            assert connection.scalar(text("select x from t")) == 1
        with pytest.raises(StoreError, match=r"createdb failed: .*already exists"):
            server.create_database("held")
        engine.dispose()
    assert not server.folder.exists()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(server.folder) not in listed


@pytest.mark.postgres
def test_a_killed_job_leaves_neither_a_server_nor_its_folder() -> None:
    program = (
        "import time\nfrom royalty.infra.servers.postgres import throwaway_postgres\n"
        "with throwaway_postgres() as server: print(server.folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        folder = Path(job.stdout.readline().strip())
        assert (folder / "data").exists()
        job.kill()
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not folder.exists()


def test_missing_binaries_are_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("royalty.infra.servers.postgres.PLACES", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreError, match="`initdb` was not found; install PostgreSQL"), throwaway_postgres():
        pass

"""Opening a database: new, from before migrations, of a newer version, another program's, or not answering."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.orm import Session

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.servers.postgres import Postgres
from royalty.infra.stores import tables
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.database import SCHEMA, VERSION_TABLE, _script, open_database
from royalty.infra.stores.migrations.versions.v1_run_store import METADATA
from royalty.infra.stores.runstore import RunStore, StageRecord
from royalty.infra.stores.tables import Base
from tests.ledgers import euros


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/r.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def before_migrations(url: str) -> Engine:
    """A database as the version before migrations left it."""
    engine = create_engine(url)
    METADATA.create_all(engine)
    moment = "2026-05-01T00:00:00+00:00"
    rows = {
        "runs": [{"name": "digits", "config": "{}"}],
        "stages": [
            {"key": "c1", "name": "credit", "inputs": "{}", "outputs": json.dumps({"table": "v2"}), "seconds": 1.5},
            {
                "key": "r1",
                "name": "report",
                "inputs": json.dumps({"name": "digits", "stages": {"credit": "c1"}}),
                "outputs": "{}",
                "seconds": 0.5,
            },
        ],
        "statements": [
            {"id": identity, "pool": pool, "valuation": valuation, "sequence": sequence}
            for identity, pool, valuation, sequence in (
                ("b", "may", "v2", 2), ("a", "may", "v1", 1), ("c", "x", "v1", 1),
            )
        ],
        "entries": [
            {"statement": s, "pool": p, "contributor": c, "valuation": v, "kind": k}
            | {"amount_minor": m, "currency": "EUR"}
            for s, p, c, v, k, m in (
                ("a", "may", "ann", "v1", "payment", 60),
                ("a", "may", "bob", "v1", "payment", 0),
                ("a", "may", "bob", "v1", "account", 4),
                ("c", "x", "ann", "v1", "payment", 5),
                ("b", "may", "ann", "v1", "reversal", -60),
                ("b", "may", "bob", "v1", "reversal", 0),
                ("b", "may", "bob", "v1", "account-reversal", -4),
                ("b", "may", "ann", "v2", "payment", 64),
            )
        ],
    }  # fmt: skip
    with engine.begin() as connection:
        for table, records in rows.items():
            for record in records:
                columns = {**record, "created_at": moment}
                command = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(':' + c for c in columns)})"
                connection.execute(text(command), columns)
    return engine


def test_a_home_from_before_migrations_is_adopted_without_loss(url: str) -> None:
    before_migrations(url).dispose()
    engine = open_database(url)
    ledger = Ledger(engine)
    assert RunStore(engine).knows("digits")
    assert RunStore(engine).stage("c1").outputs == {"table": "v2"}
    assert ledger.credit_of("digits") == ("digits", "c1")
    assert ledger.balance("may") == {"ann": 64, "bob": 0}
    assert ledger.balance("x") == {"ann": 5}
    assert ledger.accounts("june", "EUR", ["bob"]) == {}
    assert [(one.id, one.amount, one.active) for one in ledger.statements()] == [
        ("a", 64, False),
        ("c", 5, True),
        ("b", 64, True),
    ]
    assert (ledger.verify().statements, ledger.verify().broken) == (3, None)
    assert ledger.post("may", euros("v2", {"ann": 64}), replace=True) == "b", "what was paid is not paid again"
    ledger.post("may", euros("v3", {"bob": 64}), replace=True)
    assert ledger.balance("may") == {"ann": 0, "bob": 64}


def test_processes_that_open_it_at_once_migrate_it_once(url: str) -> None:
    before_migrations(url).dispose()
    failures: list[Exception] = []

    def open_it() -> None:
        try:
            open_database(url)
        except Exception as error:  # noqa: BLE001  is shown by the assertion
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert Ledger(open_database(url)).verify().statements == 3


def test_the_migrated_schema_is_what_the_code_reads(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/r.db")
    found = inspect(engine)
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}, table.name
    assert _script().get_current_head() == SCHEMA


def test_a_newer_schema_and_another_programs_are_refused(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '99'"))
    with pytest.raises(StoreError, match=rf"has schema version 99, but .* supports at most {SCHEMA}; install"):
        open_database(url)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {VERSION_TABLE} RENAME TO alembic_version"))
    with pytest.raises(StoreError, match="is the database of another program"):
        open_database(url)


def test_a_failed_migration_leaves_everything_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = before_migrations(url)
    versions = {script.revision: script.module for script in _script().walk_revisions()}

    def stop(*_: object) -> None:
        raise RuntimeError("stopped in the middle")

    with monkeypatch.context() as broken:
        broken.setattr(versions["2"], "_adopt", stop)
        with pytest.raises(RuntimeError):
            open_database(url)
    assert not inspect(engine).has_table("pools")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM entries")) == 8
    engine.dispose()
    assert Ledger(open_database(url)).verify().statements == 3


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg://royalty:secret@127.0.0.1:1/royalty", r"royalty:\*+@127.0.0.1:1/royalty: .*Start the"),
        ("mysql+pymysql://host/royalty", "driver of ROYALTY_DATABASE_URL is not installed|SQLite or PostgreSQL"),
        ("nonsense", "ROYALTY_DATABASE_URL must be a URL such as"),
        ("sqlite:////proc/nothing/royalty.db", "cannot open the run store"),
    ],
)  # fmt: skip
def test_a_url_that_does_not_answer_is_one_error(url: str, says: str) -> None:
    with pytest.raises(StoreError) as refused:
        open_database(url)
    assert re.search(says, str(refused.value))
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_database_stopped_in_the_middle_is_one_error_until_it_answers(postgres: Postgres, postgres_url: str) -> None:
    engine = open_database(postgres_url)
    store, ledger = RunStore(engine), Ledger(engine)
    store.record_stage(StageRecord("train", "k", {}, {}, 1.0))
    uses: list[Callable[[], object]] = [
        lambda: store.stage("k"),
        lambda: store.coalitions(["k"]),
        lambda: store.record_stage(StageRecord("train", "l", {}, {}, 1.0)),
        ledger.statements,
        lambda: ledger.post("may", euros("v", {"ann": 1})),
    ]
    with Session(engine) as session:
        session.get(tables.StageRow, "k")
        postgres.stop()
        try:
            with pytest.raises(StoreError, match="run store and ledger failed"):  # in the middle of a transaction
                session.get(tables.StageRow, "l")
            for use in uses:
                with pytest.raises(StoreError, match=r"ledger failed: .*Start or repair it") as refused:
                    use()
                assert "\n" not in str(refused.value)
        finally:
            postgres.start()
    assert store.stage("l") is None
    postgres.stop()
    postgres.start()
    assert store.stage("k") is not None, "a restart between two uses goes unnoticed"
    assert ledger.statements() == []


def test_a_full_disk_of_sqlite_is_one_error_and_nothing_is_half_written(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/r.db")
    store = RunStore(engine)

    def no_more_pages(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # no more than there are: SQLite says what a full disk says

    event.listen(engine, "checkout", no_more_pages)
    outputs = {"much": "x" * 100_000}
    with pytest.raises(StoreError, match=r"ledger failed: database or disk is full\. .*free some space"):
        store.record_stage(StageRecord("train", "k", {}, outputs, 1.0))
    event.remove(engine, "checkout", no_more_pages)
    engine.dispose()
    assert store.stage("k") is None
    store.record_stage(StageRecord("train", "k", {}, outputs, 1.0))
    assert store.stage("k").outputs == outputs

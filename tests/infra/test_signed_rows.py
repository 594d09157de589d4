"""Rows of the run store are signed by the product: whoever writes to the database without the key forges none."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from royalty.infra.audit.checkpoints import Notary
from royalty.infra.audit.signing import new_key
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerBroken
from royalty.infra.settings import Settings
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.database import VERSION_TABLE, open_database
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.lineage import Edge
from royalty.infra.stores.records import Records
from royalty.infra.stores.runstore import RunStore, StageRecord
from royalty.infra.workspace import check_home, open_workspace
from tests.infra.test_evidence import computed
from tests.ledgers import euros, without_triggers

FORGED, OTHER = "ef" * 32, "12" * 32
NOW = "2026-05-01T00:00:00+00:00"


@pytest.fixture
def signed(ledger: Ledger, tmp_path: Path) -> Ledger:
    """A ledger with a key, a run with credit, and another stage with a table of the product."""
    ledger.witness = Notary(tmp_path / "audit")
    computed(ledger)
    edges = [Edge("other-key", "parent", "model", "other-key"), Edge(OTHER, "other-key", "table", "other-key")]
    runs = RunStore(ledger.engine, ledger.witness)
    runs.record_stage(StageRecord("credit", "other-key", {}, {"table": OTHER}, 1.0), edges, "a-flow-run")
    ledger.post("may", euros("v1", {"ann": 60}))
    assert ledger.verify().broken is None
    return ledger


def insert(connection: Connection, table: str, values: Mapping[str, Any]) -> None:
    quoted = {name: f'"{name}"' for name in values}  # `commit` is a word of SQL
    places = ", ".join(f":{name}" for name in values)
    columns = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}
    connection.execute(text(f"INSERT INTO {table} ({', '.join(quoted.values())}) VALUES ({places})"), columns)


def forge(connection: Connection, table: str, key: str, values: Mapping[str, Any]) -> None:
    """A row with its record, whose digest anybody can compute; no trigger refuses them."""
    insert(connection, table, {**values, "created_at": NOW})
    content = digest_of(values)
    record = {"run": key, "content": content, "flow_run": None, "commit": "c", "created_at": NOW}
    insert(connection, "origins", record)


def whole_run(connection: Connection) -> None:
    """A stage with a forged table, and credit that names it."""
    stage = {"key": "forged", "name": "credit", "inputs": {}, "outputs": {"table": FORGED}, "seconds": 1.0}
    forge(connection, "stages", "forged", stage)
    forge(
        connection,
        "credit_tables",
        "credit_tables 99",
        {"id": 99, "run": "digits", "stage": "forged", "digest": FORGED},
    )


def credit_alone(connection: Connection) -> None:
    """Credit of a run that names a genuine table of another one."""
    values = {"id": 99, "run": "digits", "stage": "other-key", "digest": OTHER}
    forge(connection, "credit_tables", "credit_tables 99", values)


def new_run(connection: Connection) -> None:
    forge(connection, "runs", "runs other", {"name": "other", "config": {}})


def new_anchor(connection: Connection) -> None:
    forge(connection, "anchors", "anchors 99", {"id": 99, "name": "digits", "stages": {"train": "other-key"}})


def refused(ledger: Ledger, row: str, why: str) -> None:
    """A ledger names the row, and posts nothing."""
    found, before = ledger.verify(), ledger.statements()
    assert (found.noun, found.broken) == ("row", row)
    assert re.search(why, found.problem), found.problem
    with pytest.raises(LedgerBroken, match=why):
        ledger.post("june", euros(FORGED, {"ann": 1}, source="digits"))
    assert ledger.statements() == before


FORGERIES = {
    whole_run: "credit_tables 99",
    credit_alone: "credit_tables 99",
    new_run: "runs other",
    new_anchor: "anchors 99",
}


@pytest.mark.parametrize(("forgery", "row"), FORGERIES.items())
def test_a_row_with_a_forged_record_is_named_and_nothing_is_paid(signed: Ledger, forgery: Any, row: str) -> None:
    with signed.engine.begin() as connection:
        forgery(connection)
    assert Ledger(signed.engine).verify().broken is None, "only the signature tells"
    refused(signed, row, "not signed, so the product did not write it")


@pytest.mark.parametrize("own", [True, False], ids=["by a key of theirs", "of another row"])
def test_an_invented_signature_does_not_count(signed: Ledger, tmp_path: Path, own: bool) -> None:
    with signed.engine.begin() as connection:
        credit_alone(connection)
        signature = dict(connection.execute(text("SELECT * FROM signatures LIMIT 1")).mappings().one())
        if own:
            stranger = new_key(tmp_path / "stranger.pem")
            signature |= {"key": stranger.id, "value": stranger.sign({})}
        insert(connection, "signatures", {**signature, "run": "credit_tables 99"})
    refused(signed, "credit_tables 99", "which is none of" if own else "changed after it was signed")


CHANGES = {
    "UPDATE lineage SET child = 'x' WHERE role = 'model'": "other-key",
    "UPDATE lineage SET parent = 'x' WHERE role = 'model'": "other-key",
    "UPDATE lineage SET role = 'x' WHERE role = 'model'": "other-key",
    "DELETE FROM lineage WHERE role = 'model'": "other-key",
    "INSERT INTO lineage (child, parent, role, run) VALUES ('a', 'b', 'c', 'other-key')": "other-key",
    "UPDATE origins SET \"commit\" = 'x' WHERE run = 'other-key'": "other-key",
    "UPDATE origins SET flow_run = 'x' WHERE run = 'other-key'": "other-key",
    "UPDATE origins SET created_at = 'x' WHERE run = 'other-key'": "other-key",
    "UPDATE runs SET created_at = 'x'": "runs digits",
    "UPDATE stages SET created_at = 'x' WHERE key = 'other-key'": "other-key",
    "UPDATE coalition_models SET created_at = 'x'": "coalition-key",
    "UPDATE measurements SET created_at = 'x'": "measurement-key",
    "UPDATE credit_tables SET created_at = 'x'": "credit_tables 1",
}


@pytest.mark.parametrize(("command", "row"), CHANGES.items())
def test_lineage_times_and_commits_are_signed(signed: Ledger, command: str, row: str) -> None:
    without_triggers(signed.engine)
    with signed.engine.begin() as connection:
        connection.execute(text(command))
    refused(signed, row, "its record, its time or its lineage was changed after it was signed")


def test_a_signature_that_was_removed_or_left_is_noticed(signed: Ledger) -> None:
    with signed.engine.connect() as connection, pytest.raises(IntegrityError, match="append-only"):
        connection.execute(text("DELETE FROM signatures"))
    without_triggers(signed.engine)
    with signed.engine.begin() as connection:
        for table, key in (("stages", "key"), ("origins", "run"), ("lineage", "run")):
            connection.execute(text(f"DELETE FROM {table} WHERE {key} = 'other-key'"))
    refused(signed, "other-key", "removed from the run store after it was signed")
    with signed.engine.begin() as connection:
        connection.execute(text("DELETE FROM signatures"))
    assert "not signed" in signed.verify().problem


def as_before_signatures(url: str) -> None:
    """Leave a database as version 8 of the schema did."""
    engine = open_database(url)
    with engine.begin() as connection:
        for table in ("signatures", "link_signatures"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '8'"))
    engine.dispose()


@contextmanager
def opened(url: str, root: Path) -> Iterator[Ledger]:
    """A ledger as a process opens it."""
    ledger = Ledger(open_database(url), Notary(root / "audit"))
    Records(ledger.engine, ledger.witness).prepare()
    yield ledger
    ledger.engine.dispose()


def test_rows_of_the_version_before_are_signed_once(ledger: Ledger, tmp_path: Path) -> None:
    url = ledger.engine.url.render_as_string(hide_password=False)
    computed(ledger)
    ledger.engine.dispose()
    as_before_signatures(url)
    with opened(url, tmp_path) as upgraded:
        assert upgraded.verify().broken is None
        upgraded.post("may", euros("v1", {"ann": 60}))
        with upgraded.engine.begin() as connection:
            whole_run(connection)
        assert "not signed" in upgraded.verify().problem
        without_triggers(upgraded.engine)
    as_before_signatures(url)
    with opened(url, tmp_path) as downgraded:
        refused(downgraded, "coalition-key", "not signed, so the product did not write it")


def test_a_database_that_was_opened_before_its_first_run_adopts_no_row(tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "home")
    with open_workspace(home).ledger.engine.begin() as connection:
        whole_run(connection)
    open_workspace.cache_clear()
    refused(open_workspace(home).ledger, "credit_tables 99", "not signed")


def test_rows_of_another_home_count_if_its_key_is_trusted(signed: Ledger, tmp_path: Path) -> None:
    there = Notary(tmp_path / "there/audit")
    RunStore(signed.engine, there).record_stage(StageRecord("train", "theirs", {}, {}, 1.0))
    key = there.signer.id
    refused(signed, "theirs", rf"the key {key}, which is none of .*put its public key `audit/keys/{key}.pem` into")
    trusted = tmp_path / "audit/writers"
    trusted.mkdir()
    (trusted / "there.pem").write_bytes((there.ring.folder / f"{key}.pem").read_bytes())
    assert signed.verify().broken is None
    signed.post("june", euros("v2", {"ann": 1}))


def test_rows_signed_by_a_key_that_was_replaced_count(signed: Ledger, tmp_path: Path) -> None:
    old, new = Notary(tmp_path / "audit"), new_key(tmp_path / "new.pem")
    old.ring.succeed(old.signer, new)
    signed.witness = Notary(tmp_path / "audit", key=str(tmp_path / "new.pem"))
    RunStore(signed.engine, signed.witness).record_stage(StageRecord("train", "later", {}, {}, 1.0))
    assert signed.verify().broken is None


def test_a_run_without_the_key_is_refused_before_it_works(tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "home")
    check_home(home)
    (tmp_path / "home/audit/signing.pem").unlink()
    with pytest.raises(StoreError, match=r"key that signs checkpoints is missing.*ROYALTY_SIGNING_KEY"):
        check_home(home)
    space = open_workspace(home)
    with pytest.raises(StoreError, match="is missing"):
        space.runs.claim_name("digits", {})
    assert not space.runs.knows("digits"), "nothing is written that is not signed"


@pytest.mark.parametrize(("mode", "key"), [(0o2775, 0o640), (0o700, 0o600)])
def test_who_may_write_a_shared_home_may_sign_for_it(tmp_path: Path, mode: int, key: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    check_home(Settings(home=home))
    assert stat.S_IMODE((home / "audit/signing.pem").stat().st_mode) == key


def test_each_signature_is_verified_once_in_a_process(signed: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr("royalty.infra.audit.checkpoints.is_signed", lambda *call: calls.append(call) or True)
    assert signed.verify().broken is None
    assert calls == []
    signed.witness = Notary(signed.witness.root)
    assert signed.verify().broken is None
    assert len(calls) == 7, "six rows and a statement"
    assert signed.verify().broken is None
    assert len(calls) == 7

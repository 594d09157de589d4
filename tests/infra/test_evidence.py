"""What a statement rests on is under its hash: whatever is changed, removed or added beside it is found and named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerBroken, LedgerConflict
from royalty.infra.stores.chain import GENESIS, body_of, entry_lines
from royalty.infra.stores.database import VERSION_TABLE, open_database
from royalty.infra.stores.keys import canonical, digest_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, RunStore, StageRecord
from tests.ledgers import before_evidence, euros, without_triggers

TABLE = "ab" * 32
KEYS = ("credit-key", "coalition-key", "measurement-key")


def computed(ledger: Ledger) -> dict[str, Any]:
    """A run whose credit was computed; the evidence of a division by it."""
    runs = RunStore(ledger.engine, ledger.witness)
    runs.claim_name("digits", {"seed": 0})
    runs.record_coalition(CoalitionRecord("coalition-key", ["ann"], "finetune", 0, 3, 1.0, "cpu", "cd" * 32))
    runs.record_measurement(MeasurementRecord("measurement-key", "coalition-key", "entropy", 0, 0.5, 1.0, 1.0))
    runs.record_stage(StageRecord("credit", "credit-key", {"seed": 0}, {"table": TABLE}, 1.0))
    ledger.record_credit("digits", "credit-key", TABLE)
    return {
        "run": {"name": "digits", "config": digest_of({"seed": 0})},
        "credit": {"table": TABLE, "stages": ["credit-key"]},
        "rows": runs.contents(KEYS),
        "files": {"cd" * 32: "checkpoint"},
    }


def posted(ledger: Ledger) -> str:
    """The digest of the evidence of a division."""
    evidence = computed(ledger)
    ledger.post("may", euros(TABLE, {"ann": 60}, evidence=evidence, terms={"policy": "equal"}, source="digits"))
    assert ledger.verify().broken is None
    return digest_of(evidence)


def change(engine: Engine, command: str) -> None:
    """A change by whoever owns the database: no trigger and no foreign key is asked."""
    without_triggers(engine)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(command))


CHANGES = {
    "UPDATE measurements SET utility = 9.5": "row measurement-key .* was changed",
    "UPDATE stages SET seconds = 9 WHERE key = 'credit-key'": "row credit-key .* was changed",
    "UPDATE coalition_models SET items = 9": "row coalition-key .* was changed",
    "DELETE FROM measurements": "row measurement-key .* was removed",
    "UPDATE runs SET config = '{\"seed\": 1}'": "the configuration of the run 'digits' was changed",
    "DELETE FROM evidence": "evidence that it rests on has been changed or removed",
    "UPDATE evidence SET content = '{}'": "evidence that it rests on has been changed or removed",
    "UPDATE statements SET evidence = NULL": "hash does not match|no statement names",
    "UPDATE statements SET version = 1": "hash does not match",
    "UPDATE statements SET totals = '{}'": "hash does not match",
    "UPDATE statements SET body = 'x'": "hash does not match",
    "UPDATE policies SET terms = '{}'": "terms of its division have been changed",
}


@pytest.mark.parametrize(("command", "says"), CHANGES.items())
def test_a_change_of_what_a_statement_rests_on_is_named(ledger: Ledger, command: str, says: str) -> None:
    posted(ledger)
    identity = ledger.statements()[0].id
    change(ledger.engine, command)
    found = ledger.verify()
    assert found.broken == identity, found
    assert re.search(says, found.problem), found.problem


STRAY = {
    "INSERT INTO credit_tables (id, run, stage, digest, created_at) VALUES (9, 'digits', 'credit-key', 'ff', 'now')": (
        "credit", "9", "no output of the stage credit-key",
    ),
    f"INSERT INTO credit_tables (id, run, stage, digest, created_at) VALUES (9, 'digits', 'none', '{TABLE}', 'now')": (
        "credit", "9", "no output of the stage none",
    ),
    "INSERT INTO pools (id, name, period, currency, created_at) VALUES ('p', 'p', '', 'EUR', 'now')": (
        "pool", "p", "no statement names this row",
    ),
    "INSERT INTO policies (digest, terms, created_at) VALUES ('d', '{}', 'now')": (
        "terms", "d", "no statement names this row",
    ),
    "INSERT INTO evidence (digest, content, created_at) VALUES ('d', '{}', 'now')": (
        "evidence", "d", "no statement names this row",
    ),
    "INSERT INTO stages (key, name, inputs, outputs, seconds, created_at) "
    "VALUES ('k', 'credit', '{}', '{}', 0, '2999-01-01')": ("row", "k", "no flow wrote it"),
    "INSERT INTO measurements (key, coalition, property, draw, utility, sample_seconds, measure_seconds, created_at) "
    "VALUES ('k', 'coalition-key', 'entropy', 1, 0.5, 0, 0, '2999-01-01')": ("row", "k", "no flow wrote it"),
    "INSERT INTO stages (key, name, inputs, outputs, seconds, created_at) "
    "VALUES ('k', 'credit', '{}', '{}', 0, '2000-01-01')": ("row", "k", "no flow wrote it"),
    "INSERT INTO runs (name, config, created_at) VALUES ('other', '{}', 'now')": ("row", "runs other", "no flow wrote"),
    "INSERT INTO anchors (name, stages, created_at) VALUES ('digits', '{}', 'now')": (
        "row", "anchors 1", "no flow wrote",
    ),
    "INSERT INTO lineage (child, parent, role, run) VALUES ('a', 'b', 'table', 'nobody')": (
        "lineage", "nobody", "no row of the run store has this key",
    ),
    "INSERT INTO credit_tables (id, run, stage, digest, created_at) "
    f"VALUES (9, 'other', 'credit-key', '{TABLE}', 'now')": ("row", "credit_tables 9", "no flow wrote it"),
    "DELETE FROM stages WHERE key = 'spare'": ("row", "spare", "removed from the run store"),
    "UPDATE stages SET outputs = '{}' WHERE key = 'spare'": ("row", "spare", "changed in the run store"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "says"), STRAY.items())
def test_a_row_that_hangs_in_the_air_is_named(ledger: Ledger, command: str, says: tuple[str, str, str]) -> None:
    RunStore(ledger.engine).record_stage(StageRecord("other", "spare", {}, {"a": 1}, 0.0))
    posted(ledger)
    change(ledger.engine, command)
    found, (noun, identity, why) = ledger.verify(), says
    assert (found.noun, found.broken, found.statements) == (noun, identity, 1)
    assert why in found.problem
    with pytest.raises(LedgerBroken, match=re.escape(why)):
        ledger.post("june", euros("v9", {"ann": 1}))
    assert len(ledger.statements()) == 1


@pytest.mark.parametrize("table", ["runs", "stages", "coalition_models", "measurements", "origins", "evidence"])
def test_the_database_refuses_changes_of_what_statements_rest_on(ledger: Ledger, table: str) -> None:
    posted(ledger)
    commands = [f"UPDATE {table} SET created_at = created_at", f"DELETE FROM {table}"]
    if ledger.engine.dialect.name == "postgresql":
        commands.append(f"TRUNCATE {table} CASCADE")
    for command in commands:
        with ledger.engine.connect() as connection, pytest.raises(IntegrityError, match="append-only"):
            connection.execute(text(command))
    assert ledger.verify().broken is None


def test_evidence_that_was_forged_in_advance_is_not_adopted(ledger: Ledger) -> None:
    evidence = computed(ledger)
    with ledger.engine.begin() as connection:
        forged = {"digest": digest_of(evidence), "content": "{}"}
        connection.execute(text("INSERT INTO evidence VALUES (:digest, :content, 'now')"), forged)
    with pytest.raises(LedgerConflict, match=r"no statement names|evidence .* has changed"):
        ledger.post("may", euros(TABLE, {"ann": 60}, evidence=evidence))
    assert ledger.statements() == []


def test_a_ledger_of_the_version_before_verifies_and_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'royalty.db'}"
    ledger = Ledger(open_database(url))
    ledger.post("may", euros("v1", {"ann": 60, "bob": 40}))
    ledger.post("may", euros("v2", {"ann": 50, "bob": 50}), replace=True)
    before_evidence(ledger.engine)
    ledger.engine.dispose()
    reopened = Ledger(open_database(url))
    assert (reopened.verify().statements, reopened.verify().broken) == (2, None)
    assert [posted.evidence for posted in reopened.statements()] == [None, None]
    reopened.post("june", euros("v3", {"ann": 1}, evidence={"rows": {}}))
    assert reopened.post("may", euros("v2", {"ann": 50, "bob": 50})) == reopened.statements()[1].id
    assert (reopened.verify().statements, reopened.verify().broken) == (3, None)
    change(reopened.engine, "UPDATE entries SET amount_minor = 61 WHERE amount_minor = 60")
    assert reopened.verify().broken == reopened.statements()[0].id


def test_a_later_statement_is_not_of_an_earlier_version(ledger: Ledger) -> None:
    posted(ledger)
    ledger.post("june", euros("v2", {"ann": 1}))
    change(ledger.engine, "UPDATE statements SET version = 1 WHERE position = 2")
    assert "its version is 1" in ledger.verify().problem


def test_a_body_is_the_digest_of_its_lines_in_any_order() -> None:
    rows = [("zoë", "payment", "v1", 60, "EUR"), ('a"\n', "payment", "v1", -3, "EUR"), ("", "pool", "v1", -57, "EUR")]
    body = body_of(rows)
    assert body == body_of(reversed(rows))
    assert body.totals == {"payment": [2, 57], "pool": [1, -57]}
    lines = [canonical(list(row)) + "\n" for row in rows]
    assert entry_lines(rows)[0] == sorted(lines)
    assert body.digest == hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    assert body_of([]).digest == hashlib.sha256(b"").hexdigest() != GENESIS


BAD: list[Callable[[], Any]] = [
    lambda: body_of([("ann", "payment", "v1", 1.0, "EUR")]),
    lambda: body_of([("ann", "payment", "v1", "1", "EUR")]),
    lambda: body_of([("ann", "payment", "v1", True, "EUR")]),
    lambda: body_of([(b"ann", "payment", "v1", 1, "EUR")]),
]


@pytest.mark.parametrize("bad", BAD)
def test_amounts_and_texts_are_of_their_type(bad: Callable[[], Any]) -> None:
    with pytest.raises(TypeError):
        bad()


def test_rows_of_the_schema_before_are_recorded_when_it_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'royalty.db'}"
    ledger = Ledger(open_database(url))
    posted(ledger)
    RunStore(ledger.engine).record_anchor("digits", {"train": "credit-key"})
    without_triggers(ledger.engine)
    with ledger.engine.begin() as connection:
        before = sorted(map(tuple, connection.execute(text("SELECT run, content FROM origins"))))
        connection.execute(text("DELETE FROM origins WHERE run LIKE '% %' OR run = 'measurement-key'"))
        for table in ("signatures", "link_signatures"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '7'"))
    assert "nothing was recorded with it" in ledger.verify().problem
    ledger.engine.dispose()
    reopened = Ledger(open_database(url))
    assert reopened.verify().broken is None
    with reopened.engine.connect() as connection:
        assert sorted(map(tuple, connection.execute(text("SELECT run, content FROM origins")))) == before

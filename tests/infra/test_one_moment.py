"""Runs go on writing while the ledger is read: what they add meanwhile is no sign of a change by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from royalty.infra.audit.checkpoints import Notary
from royalty.infra.ledger.acts import Acts
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.stores.database import open_database
from royalty.infra.stores.lineage import Edge
from royalty.infra.stores.runstore import RunStore, StageRecord
from tests.infra.test_evidence import computed
from tests.ledgers import euros


@contextmanager
def another_process(engine: Engine, write: Any) -> Iterator[list[str]]:
    """Before each query of this engine, write from an engine of its own; the queries that were preceded by it."""
    other, preceded, busy = open_database(engine.url.render_as_string(hide_password=False)), list[str](), list[bool]()

    def before(_connection: Any, _cursor: Any, command: str, *_: Any) -> None:
        if not busy and command.startswith("SELECT"):
            busy.append(True)
            write(other, len(preceded))
            preceded.append(command)
            busy.clear()

    event.listen(engine, "before_cursor_execute", before)
    try:
        yield preceded
    finally:
        event.remove(engine, "before_cursor_execute", before)
        other.dispose()


def signed(ledger: Ledger, folder: Path) -> Ledger:
    """The ledger with a key and a run that was paid."""
    ledger.witness = Notary(folder / "audit")
    evidence = computed(ledger)
    ledger.post("may", euros("v1", {"ann": 60}, evidence=evidence, source="digits"))
    return ledger


@pytest.fixture
def paid(ledger: Ledger, tmp_path: Path) -> Ledger:
    return signed(ledger, tmp_path)


def runs(ledger: Ledger) -> Any:
    """Another run finishes a stage."""

    def write(engine: Engine, number: int) -> None:
        key = f"stage-{number}"
        RunStore(engine, ledger.witness).record_stage(
            StageRecord("embed", key, {}, {}, 1.0), [Edge(key, "parent", "images", key)]
        )

    return write


def payments(ledger: Ledger) -> Any:
    """Another process pays another pool, and records an act."""
    numbers = count()

    def write(engine: Engine, _number: int) -> None:
        other = Ledger(engine, ledger.witness)
        other.post(f"pool-{next(numbers)}", euros("v1", {"ann": 60}))
        Acts(engine, ledger.witness).record("case", "opened", "ann", {})

    return write


@pytest.mark.parametrize("process", [runs, payments])
def test_a_ledger_verifies_while_others_write(paid: Ledger, process: Any) -> None:
    with another_process(paid.engine, process(paid)) as preceded:
        verified = paid.verify()
    assert verified.broken is None, verified.why
    assert len(preceded) > 5
    assert paid.verify().broken is None


def test_acts_are_read_while_others_are_recorded(paid: Ledger) -> None:
    acts = Acts(paid.engine, paid.witness)
    acts.record("case", "opened", "bob", {})
    with another_process(paid.engine, payments(paid)) as preceded:
        assert acts.all()[0].actor == "bob"
        assert acts.problems() == []
    assert preceded
    assert len(acts.all()) == 1 + len(preceded)


@pytest.mark.postgres
def test_a_pool_is_paid_while_runs_go_on(postgres_url: str, tmp_path: Path) -> None:
    """On SQLite, which has one writer, runs wait for a posting."""
    paid = signed(Ledger(open_database(postgres_url)), tmp_path)
    with another_process(paid.engine, runs(paid)) as preceded:
        paid.post("june", euros("v1", {"ann": 60}))
    assert len(preceded) > 5
    assert paid.verify().broken is None

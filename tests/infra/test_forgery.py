"""Entries that somebody with access to the database adds by hand: none is counted, and each is found and named."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerBroken, LedgerConflict, Posting
from royalty.infra.stores.chain import pool_key
from royalty.infra.stores.database import VERSION_TABLE, open_database
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.tables import PolicyRow, PoolRow
from tests.ledgers import before_evidence, euros

COLUMNS = ("statement", "pool", "contributor", "valuation", "kind", "amount_minor", "currency")
GUARDS = ("entries_closed", "entries_once", "entries_no_replace", "statements_settled")
Change = Mapping[str, Any]


def posted(ledger: Ledger) -> dict[str, Any]:
    """Two pools that are paid; the first entry of the first."""
    ledger.post("may", euros("v1", {"ann": 60, "bob": 40}, accounts={"cy": 9}))
    ledger.post("june", euros("v2", {"ann": 10}), replace=True)
    with ledger.engine.connect() as connection:
        row = connection.execute(text(f"SELECT {', '.join(COLUMNS)} FROM entries ORDER BY id LIMIT 1"))
        return dict(row.mappings().one())


def insert(engine: Engine, entry: Change, *, guarded: bool = True) -> int:
    """Add an entry without foreign keys, and without the triggers unless it is guarded; returns its id."""
    command = f"INSERT INTO entries ({', '.join(entry)}) VALUES ({', '.join(':' + column for column in entry)})"
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(engine.url.database))) as connection, connection:
            for guard in () if guarded else GUARDS:
                connection.execute(f"DROP TRIGGER IF EXISTS {guard}")
            return int(connection.execute(command, entry).lastrowid or 0)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # neither keys nor triggers
        return int(connection.execute(text(command + " RETURNING id"), entry).scalar_one())


@pytest.mark.parametrize(
    "change",
    [
        {"statement": "ghost2", "valuation": "v2", "kind": "account", "amount_minor": 900_000},
        {"statement": "ghost2", "pool": "no such pool", "kind": "account", "amount_minor": 900_000},
        {"statement": "ghost2", "kind": "bonus"},
        {"statement": "ghost2", "valuation": "v9", "amount_minor": 0},
        {"statement": "ghost2", "valuation": "v9", "contributor": "eve", "kind": "held", "amount_minor": -5},
        {"statement": "", "valuation": "v9"},
    ],
)
def test_an_entry_of_no_statement_is_named_and_stops_all_payment(
    ledger: Ledger,
    change: Change,
) -> None:
    forged = {**posted(ledger), **change}
    whole = ledger.verify()
    number = insert(ledger.engine, forged)
    found = ledger.verify()
    assert (found.statements, found.head) == (whole.statements, whole.head), "every statement still holds"
    assert (found.broken, found.entry) == (change["statement"], number)
    assert f"entry {number}" in (found.why or "")
    before = ledger.statements()
    uses: list[Callable[[], object]] = [
        lambda: ledger.post("july", euros("v3", {"ann": 1}), replace=True),
        lambda: ledger.post("may", euros("v1", {"ann": 60, "bob": 40}, accounts={"cy": 9})),
        lambda: ledger.release("may", ["ann"]),
        lambda: ledger.accounts("july", "EUR", ["ann"]),
        lambda: ledger.balance("may"),
    ]
    for use in uses:
        with pytest.raises(LedgerBroken, match=rf"ledger that verifies.*entry {number} .*Restore") as refused:
            use()
        assert isinstance(refused.value, LedgerConflict)
    assert ledger.statements() == before


@pytest.mark.parametrize(
    "change",
    [
        {"contributor": "eve", "kind": "account", "amount_minor": 900_000},
        {"contributor": "eve", "amount_minor": 0},
        {"kind": "bonus", "amount_minor": 0},
        {"contributor": "eve", "pool": "no such pool"},
        {"contributor": "eve", "currency": "USD"},
        {"contributor": "ann", "valuation": "v3"},
    ],
)
def test_an_entry_added_to_a_statement_breaks_its_hash(ledger: Ledger, change: Change) -> None:
    forged = {**posted(ledger), **change}
    if ledger.engine.dialect.name == "sqlite":
        with pytest.raises(sqlite3.IntegrityError, match="a statement is closed"):
            insert(ledger.engine, forged)
    assert ledger.verify().broken is None
    insert(ledger.engine, forged, guarded=False)
    found = ledger.verify()
    assert (found.statements, found.broken) == (0, forged["statement"])
    assert "its hash does not match its content" in (found.why or "")
    for use in (lambda: ledger.statement(forged["statement"]), lambda: ledger.balance("may")):
        with pytest.raises(LedgerBroken, match="its hash does not match"):
            use()
    with pytest.raises(LedgerBroken, match=rf"statement {forged['statement']} is not valid.*Restore"):
        ledger.post("july", euros("v3", {"ann": 1}), replace=True)


def test_an_entry_moved_to_another_pool_is_found(tmp_path: Path) -> None:
    ledger = Ledger(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
    first = posted(ledger)
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER entries_no_update"))
        other = "(SELECT id FROM pools WHERE name = 'june')"
        connection.execute(text(f"UPDATE entries SET pool = {other} WHERE contributor = 'bob'"))
    found = ledger.verify()
    assert found.broken == first["statement"]
    assert "belongs to another pool" in (found.why or "")


def test_a_statement_that_was_taken_away_leaves_entries_that_are_found(tmp_path: Path) -> None:
    ledger = Ledger(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
    posted(ledger)
    last = ledger.statements()[-1].id
    with closing(sqlite3.connect(tmp_path / "royalty.db")) as connection, connection:
        connection.execute("DROP TRIGGER statements_no_delete")
        connection.execute("DELETE FROM statements WHERE id = ?", (last,))
    assert ledger.verify().broken == last


def test_terms_and_pools_forged_in_advance_are_not_adopted(ledger: Ledger) -> None:
    posted(ledger)
    terms = {"policy": "proportional"}
    with Session(ledger.engine) as session, session.begin():
        session.add(PolicyRow(digest=digest_of(terms), terms={"policy": "equal"}))
        session.add(PoolRow(id=pool_key("july", ""), name="another", period="", currency="EUR"))
    found = ledger.verify()
    assert (found.noun, found.broken, found.statements) == ("pool", pool_key("july", ""), 2)
    assert "no statement names this row" in found.problem
    for pool in ("august", "july"):
        with pytest.raises(LedgerBroken, match=r"the pool .* is not valid|pool .* is not valid: no statement names"):
            ledger.post(pool, euros("v3", {"ann": 1}, terms=terms), replace=True)
    assert len(ledger.statements()) == 2


@pytest.mark.parametrize(
    ("posting", "brought", "says"),
    [
        (euros("v3", {"ann": 900_100}, accounts={"ann": -900_000}, pool=100), {}, r"€9,001\.00.*€1\.00.*€0\.00"),
        (euros("v3", {"ann": 110, "cy": 0}, accounts={"cy": -10}, pool=100), {"cy": 9}, r"€1\.10.*€1\.00.*€0\.09"),
        (euros("v3", {"ann": 100, "cy": 0}, held={"cy": 10}, accounts={"cy": -10}, pool=100), {"cy": 9}, r"€1\.10"),
        (euros("v3", {"ann": 900}, claims=-800, pool=100), {}, r"€9\.00"),
        (euros("v3", {"ann": 900, "bob": -800}, pool=100), {}, "bob.*-€8"),
        (euros("v3", {"ann": 900}, held={"bob": -800}, pool=100), {}, "bob.*-€8"),
    ],
)  # fmt: skip
def test_nothing_above_the_pool_and_accounts_is_paid(
    ledger: Ledger,
    posting: Posting,
    brought: dict[str, int],
    says: str,
) -> None:
    posted(ledger)
    before = ledger.statements()
    with pytest.raises(LedgerConflict, match=says):
        ledger.post("july", posting, brought=brought)
    assert ledger.statements() == before
    ledger.post("july", euros("v3", {"ann": 100, "cy": 9}, accounts={"cy": -9}, pool=100), brought={"cy": 9})
    assert ledger.balance("july") == {"ann": 100, "cy": 9}


WORDS = st.one_of(st.sampled_from(["may", "v1", "v2", "ann", "payment", "account", "EUR"]), st.text(max_size=6))
CELLS = st.one_of(WORDS, st.integers(-(2**62), 2**62), st.binary(max_size=4), st.floats(allow_nan=False))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A ledger's file, and its first entry."""
    file = tmp_path_factory.mktemp("template") / "royalty.db"
    whole = Ledger(open_database(f"sqlite:///{file}"))
    first = posted(whole)
    assert whole.verify().broken is None
    whole.engine.dispose()
    return file, first


@settings(max_examples=60, deadline=None)
@given(change=st.dictionaries(st.sampled_from(COLUMNS), CELLS), orphan=st.booleans())
def test_any_single_entry_that_is_added_breaks_verification(
    template: tuple[Path, dict[str, Any]], change: dict[str, Any], orphan: bool
) -> None:
    file, first = template
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(file.with_name("copy.db"))) as copy:
        source.backup(copy)
        for guard in GUARDS:
            copy.execute(f"DROP TRIGGER IF EXISTS {guard}")
        forged = {**first, **({"statement": "ghost"} if orphan else {}), **change}
        places = ", ".join(":" + column for column in COLUMNS)
        try:
            copy.execute(f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES ({places})", forged)
        except sqlite3.IntegrityError:  # the one of its kind is there: a constraint of the table itself refuses it
            return
        copy.commit()
    engine = open_database(f"sqlite:///{file.with_name('copy.db')}")
    try:
        assert Ledger(engine).verify().broken is not None
        with pytest.raises(LedgerBroken):
            Ledger(engine).post("july", euros("v3", {"ann": 1}), replace=True)
    finally:
        engine.dispose()


@pytest.mark.parametrize("change", [{"statement": "ghost2"}, {"statement": "new", "pool": "no such pool"}])
def test_the_database_writes_no_statement_beside_a_forged_entry(ledger: Ledger, change: Change) -> None:
    first = posted(ledger)
    insert(ledger.engine, {**first, "valuation": "v9", "amount_minor": 0, **change})
    with ledger.engine.connect() as connection:
        last = dict(connection.execute(text("SELECT * FROM statements WHERE position = 2")).mappings().one())
    added = {**last, "id": "new", "pool": first["pool"], "position": 3, "previous": last["hash"], "hash": "h"}
    added |= {"kind": "release", "replaces": None}
    added = {column: json.dumps(value) if isinstance(value, dict) else value for column, value in added.items()}
    command = f"INSERT INTO statements ({', '.join(added)}) VALUES ({', '.join(':' + column for column in added)})"
    with pytest.raises(IntegrityError, match="every entry is of a statement"), ledger.engine.begin() as connection:
        connection.execute(text(command), added)
    assert len(ledger.statements()) == 2


def test_a_ledger_of_the_schema_before_is_guarded_once_it_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'royalty.db'}"
    ledger = Ledger(open_database(url))
    forged = {**posted(ledger), "statement": "ghost2", "valuation": "v9", "kind": "account"}
    before_evidence(ledger.engine)
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TABLE acts"))
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '2'"))
    number = insert(ledger.engine, forged)
    reopened = Ledger(open_database(url))
    assert reopened.verify().entry == number, "what was forged before is found, and stops no migration"
    with reopened.engine.connect() as connection:
        names = connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
        assert {"statements_settled", "entries_return"} <= set(names)

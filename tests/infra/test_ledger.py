"""The ledger, on both databases: pays once, sums to zero, is only added to, and shows what was changed in it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from royalty.infra.ledger import ledger as ledger_module
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerConflict, Posting
from royalty.infra.stores.chain import GENESIS
from royalty.infra.stores.database import open_database
from royalty.infra.stores.runstore import RunStore, StageRecord
from royalty.infra.stores.tables import EntryRow, StatementRow
from tests.ledgers import euros

TABLES = ("pools", "policies", "credit_tables", "statements", "entries")


def filled(ledger: Ledger) -> None:
    """A row in every table."""
    RunStore(ledger.engine).record_stage(StageRecord("credit", "stage", {}, {"table": "v1" * 32}, 0.0))
    ledger.record_credit("digits", "stage", "v1" * 32)
    ledger.post("may", euros("v1", {"ann": 60, "bob": 40}, terms={"policy": "proportional"}, source="digits"))


def test_posting_twice_pays_once(ledger: Ledger) -> None:
    posting = euros("v1", {"ann": 60, "bob": 40})
    assert ledger.post("may", posting) == ledger.post("may", posting)
    assert ledger.balance("may") == {"ann": 60, "bob": 40}
    assert ledger.balance("may", "pool") == {"": -100}
    assert ledger.verify().statements == 1


@pytest.mark.parametrize("table", TABLES)
def test_the_database_refuses_every_change(ledger: Ledger, table: str) -> None:
    filled(ledger)
    column = {"statements": "source", "entries": "amount_minor", "policies": "created_at"}.get(table, "created_at")
    commands = [f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"]
    if ledger.engine.dialect.name == "postgresql":
        commands += [f"TRUNCATE {table} CASCADE"]
    else:
        commands += [f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"]
    for command in commands:
        with (
            ledger.engine.connect() as connection,
            pytest.raises(IntegrityError, match=r"append-only|UNIQUE|closed|whose hash it holds"),
        ):
            connection.execute(text(command))
    assert ledger.balance("may") == {"ann": 60, "bob": 40}
    assert ledger.verify().broken is None


def test_entries_that_do_not_sum_to_zero_come_in_no_statement(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError, match="sum to zero"):
        ledger.post("may", euros("v1", {"ann": 60, "bob": 40}, pool=101))
    assert ledger.statements() == []
    ledger.post("may", euros("v1", {"ann": 60, "bob": 40}, pool=101, reserve=1))
    assert ledger.balance("may", "reserve") == {"": 1}


def test_paying_twice_is_a_constraint_error(ledger: Ledger) -> None:
    filled(ledger)
    with Session(ledger.engine) as session:
        old = session.scalars(select(EntryRow).where(EntryRow.contributor == "ann")).one()
        own = {"pool": old.pool, "contributor": "ann", "valuation": "v1", "kind": "payment", "currency": "EUR"}
        for statement in (old.statement, "another"):
            session.add(EntryRow(statement=statement, amount_minor=60, **own))
            with pytest.raises(IntegrityError, match=r"(?i)unique|closed"):
                session.commit()
            session.rollback()
        session.add(EntryRow(statement="nowhere", amount_minor=0, **{**own, "contributor": "zoe"}))
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            session.commit()  # an entry without a statement


def test_a_pool_and_period_have_one_active_statement(ledger: Ledger) -> None:
    filled(ledger)
    ledger.post("may", euros("v2", {"ann": 50}), replace=True)
    with Session(ledger.engine) as session:
        last = session.scalars(select(StatementRow).order_by(StatementRow.position.desc())).first()
        said = {column.name: getattr(last, column.name) for column in StatementRow.__table__.columns}
        for replaces in (None, last.replaces):
            forged = {**said, "id": "f", "position": 3, "previous": last.hash, "hash": "f", "valuation": "v3"}
            session.add(StatementRow(**{**forged, "replaces": replaces}))
            with pytest.raises(IntegrityError, match=r"(?i)unique"):
                session.commit()
            session.rollback()
        session.add(StatementRow(**{**forged, "replaces": last.id, "previous": GENESIS}))
        with pytest.raises(IntegrityError, match="whose hash it holds"):
            session.commit()
    assert [one.active for one in ledger.statements()] == [False, True]


def test_each_period_of_a_pool_is_paid(ledger: Ledger) -> None:
    first = euros("v1", {"ann": 1, "bob": 0}, accounts={"bob": 9})
    second = euros("v1", {"ann": 19, "bob": 0}, accounts={"bob": -9})
    may = ledger.post("monthly", first, period="2026-05")
    june = ledger.post("monthly", second, period="2026-06", brought={"bob": 9})
    assert may != june
    assert ledger.balance("monthly", period="2026-05") == {"ann": 1, "bob": 0}
    assert ledger.accounts("monthly", "EUR", ["bob"], period="2026-07") == {}
    assert ledger.accounts("monthly", "EUR", ["bob"], period="2026-06") == {"bob": 9}


def test_new_valuation_reverses_the_old(ledger: Ledger) -> None:
    ledger.post("may", euros("v1", {"ann": 60, "bob": 40}))
    ledger.post("may", euros("v2", {"ann": 10, "cy": 90}), replace=True)
    assert ledger.balance("may") == {"ann": 10, "bob": 0, "cy": 90}
    assert ledger.statements()[-1].moved == {"ann": -50, "bob": -40, "cy": 90}
    with pytest.raises(LedgerConflict, match="has since replaced it"):
        ledger.post("may", euros("v1", {"ann": 60, "bob": 40}))


def test_what_contradicts_the_ledger_is_refused(ledger: Ledger) -> None:
    ledger.post("may", euros("v1", {"ann": 60}, source="digits"))
    with pytest.raises(LedgerConflict, match=r"€0\.60, but this posting pays €0\.61"):
        ledger.post("may", euros("v1", {"ann": 61}))
    with pytest.raises(LedgerConflict, match="'may' is in EUR, got USD"):
        ledger.post("may", Posting(valuation="v1", currency="USD", amounts={"ann": 60}))
    with pytest.raises(LedgerConflict, match="was divided by the credit of 'digits', got that of 'cats'"):
        ledger.post("may", euros("v2", {"ann": 60}, source="cats"))
    assert ledger.balance("may") == {"ann": 60}
    ledger.post("may", euros("v2", {"ann": 59}, source="cats"), replace=True)
    assert ledger.balance("may") == {"ann": 59}


def test_what_is_held_is_released_once_and_taken_back_by_a_correction(ledger: Ledger) -> None:
    posting = euros("v1", {"ann": 60, "bob": 0, "cy": 0}, held={"bob": 30, "cy": 10})
    ledger.post("may", posting)
    with pytest.raises(LedgerConflict, match="holds nothing for 'ann'; it holds money for bob, cy"):
        ledger.release("may", ["ann", "bob"])
    with pytest.raises(LedgerConflict, match="'june' was not divided"):
        ledger.release("june", ["bob"])
    assert ledger.release("may", ["bob"]) == ledger.release("may", ["bob"])
    assert ledger.balance("may") == {"ann": 60, "bob": 30, "cy": 0}
    assert ledger.balance("may", "held") == {"bob": 0, "cy": 10}
    first = ledger.statements()[0].id
    assert ledger.post("may", posting) == first, "the same division, from before the release"
    assert ledger.post("may", euros("v1", {"ann": 60, "bob": 30, "cy": 0}, held={"cy": 10})) == first, "and after it"
    ledger.post("may", euros("v2", {"ann": 100}), replace=True)
    assert ledger.balance("may") == {"ann": 100, "bob": 0, "cy": 0}
    assert ledger.balance("may", "held") == {"bob": 0, "cy": 0}
    assert [(one.kind, one.active) for one in ledger.statements()] == [
        ("division", False),
        ("release", False),
        ("division", True),
    ]


def test_accounts_are_brought_forward_once_and_again_to_the_same_pool(ledger: Ledger) -> None:
    names = ["ann", "bob"]
    ledger.post("may", euros("v1", {"ann": 60, "bob": 0}, accounts={"bob": 4}))
    assert ledger.accounts("may", "EUR", names) == {}
    assert ledger.accounts("june", "JPY", names) == ledger.accounts("june", "EUR", ["ann"]) == {}
    brought = ledger.accounts("june", "EUR", names)
    assert brought == {"bob": 4}
    june = euros("v2", {"ann": 50, "bob": 9}, accounts={"bob": -4})
    statement = ledger.post("june", june, brought=brought)
    assert ledger.accounts("july", "EUR", names) == {}
    assert ledger.accounts("june", "EUR", names) == brought
    assert ledger.post("june", june, brought=brought) == statement
    with pytest.raises(LedgerConflict, match="or holds or carries over another amount"):
        ledger.post("june", euros("v2", {"ann": 50, "bob": 9}, accounts={"bob": -3}), brought=brought)


def test_two_pools_do_not_bring_forward_the_same(ledger: Ledger) -> None:
    ledger.post("may", euros("v1", {"bob": 0}, accounts={"bob": 4}))
    brought = ledger.accounts("june", "EUR", ["bob"])
    ledger.post("july", euros("v2", {"bob": 4}, accounts={"bob": -4}), brought=brought)
    with pytest.raises(LedgerConflict, match="another pool changed the accounts while 'june' was divided"):
        ledger.post("june", euros("v3", {"bob": 4}, accounts={"bob": -4}), brought=brought)
    assert ledger.balance("june") == {}
    assert ledger.accounts("june", "EUR", ["bob"]) == {}


def test_what_was_brought_from_a_valuation_since_replaced_is_owed(ledger: Ledger) -> None:
    ledger.post("may", euros("v1", {"ann": 90, "bob": 0}, held={"cy": 6}, accounts={"bob": 4}))
    brought = ledger.accounts("june", "EUR", ["bob"])
    ledger.post("june", euros("v2", {"bob": 24}, accounts={"bob": -4}), brought=brought)
    ledger.post("may", euros("v3", {"ann": 99, "bob": 0}, accounts={"bob": 1}), replace=True)
    assert ledger.balance("may") == {"ann": 99, "bob": 0}
    assert ledger.balance("may", "held") == {"cy": 0}
    assert ledger.balance("may", "account") == {"bob": 1}
    assert ledger.accounts("july", "EUR", ["bob"]) == {"bob": -3}


def test_writers_at_once_pay_once_in_one_chain(ledger: Ledger) -> None:
    def write(worker: int) -> None:
        for index in range(5):
            ledger.post(f"p{index}", euros("v1", {"ann": 10**12, "bob": index}))
            ledger.post(f"own-{worker}-{index}", euros("v1", {"ann": 1}))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.verify().statements == 25
    assert all(ledger.balance(f"p{index}") == {"ann": 10**12, "bob": index} for index in range(5))


@pytest.mark.parametrize(
    ("table", "change", "why"),
    [
        ("entries", "amount_minor = amount_minor + 1", "its hash does not match its content"),
        ("entries", "contributor = 'eve' WHERE contributor = 'ann'", "its hash does not match"),
        ("pools", "currency = 'USD'", "its hash does not match"),
        ("statements", "created_at = '1999-01-01' WHERE position = 2", "its hash does not match"),
        ("statements", "previous = 'x' WHERE position = 2", "its previous hash is not that of the statement before it"),
        ("statements", "position = 9 WHERE position = 2", "its position is 3, but the next position is 2"),
        ("policies", "terms = '{}'", "the terms of its division"),
    ],
)
def test_verify_names_the_first_statement_that_was_changed(tmp_path: Path, table: str, change: str, why: str) -> None:
    ledger = Ledger(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
    filled(ledger)
    ledger.post("june", euros("v2", {"ann": 7}))
    ledger.post("july", euros("v3", {"ann": 8}))
    whole = ledger.verify()
    assert (whole.statements, whole.broken) == (3, None)
    with ledger.engine.begin() as connection:  # whoever owns the file can take the trigger away
        connection.execute(text(f"DROP TRIGGER {table}_no_update"))
        connection.execute(text(f"UPDATE {table} SET {change}"))
    found = ledger.verify()
    first = ledger.statements()[1 if "position = 2" in change else 0].id
    if "position = 9" in change:
        first = ledger.statements()[1].id  # the one that now follows the first
    assert found.broken == first
    assert why in (found.why or "")


def test_a_clock_that_went_back_changes_no_order(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for moment, valuation in (("2026-05-02T00:00:00+00:00", "v1"), ("2026-05-01T00:00:00+00:00", "v2")):
        monkeypatch.setattr(ledger_module, "now", lambda moment=moment: moment)
        ledger.post("may", euros(valuation, {"ann": int(valuation[1])}))
    assert [(one.valuation, one.active) for one in ledger.statements()] == [("v1", False), ("v2", True)]
    assert ledger.verify().statements == 2


def test_names_of_any_script_and_length(ledger: Ledger) -> None:
    names = ["名前", "אבג", "🎨", "O'Brien; DROP TABLE entries", "<b>", "e\u0301" * 5000]
    ledger.post("may", euros("v1", dict.fromkeys(names, 7)))
    assert ledger.balance("may") == dict.fromkeys(names, 7)
    assert ledger.verify().broken is None


def test_the_latest_credit_of_a_run_is_found_by_name_and_digest(ledger: Ledger) -> None:
    for stage, digest in (("s1", "aaaaaaaa1"), ("s2", "bbbbbbbb2"), ("s2", "bbbbbbbb2"), ("s1", "aaaaaaaa1")):
        ledger.record_credit("digits", stage, digest)
    assert ledger.credit_of("digits") == ("digits", "s1")
    assert ledger.credit_of("bbbbbbbb") == ("digits", "s2")
    assert ledger.credit_of("cats") is None
    assert ledger.credit_of("%%%%%%%%%") is None


amounts = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000), min_size=1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(postings=st.lists(amounts, min_size=1, max_size=6))
def test_a_pool_owes_what_the_last_statement_says(postings: list[dict[str, int]]) -> None:
    ledger, rows = Ledger(open_database("sqlite://")), 0
    for index, posting in enumerate(postings):
        ledger.post("p", euros(f"v{index}", posting), replace=True)
        with Session(ledger.engine) as session:
            now = session.scalar(select(func.count()).select_from(EntryRow)) or 0
        assert now > rows, "rows are only added"
        rows = now
        assert {name: owed for name, owed in ledger.balance("p").items() if owed} == {
            k: v for k, v in posting.items() if v
        }

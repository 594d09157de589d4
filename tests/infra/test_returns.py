"""A pool whose credit returns to an earlier table is corrected back, if that is agreed to; it is still paid once."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from royalty.infra.ledger.change import TakesBack
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import Posting
from royalty.infra.stores.chain import pool_key, returned
from royalty.infra.stores.database import open_database
from royalty.infra.stores.tables import EntryRow
from tests.ledgers import euros

EARLY = euros("v1", {"ann": 60, "bob": 30}, held={"cy": 10})
LATE = euros("v2", {"ann": 40, "bob": 50}, held={"cy": 10})


@pytest.mark.parametrize("corrections", ["reverse", "carry"])
def test_a_pool_goes_back_to_an_earlier_table_and_forth_again(ledger: Ledger, corrections: str) -> None:
    identities = [
        ledger.post("may", posting, corrections=corrections, replace=True) for posting in (EARLY, LATE, EARLY, LATE)
    ]
    assert len(set(identities)) == 4
    assert [posted.valuation for posted in ledger.statements()] == ["v1", "v2", "v1", "v2"]
    due = {
        name: sum(ledger.balance("may", kind).get(name, 0) for kind in ("payment", "account"))
        for name in ("ann", "bob")
    }
    assert due == {"ann": 40, "bob": 50}
    assert ledger.post("may", LATE, corrections=corrections) == identities[-1], "repeated"
    assert ledger.verify().statements == 4


def test_held_money_is_released_from_the_table_that_a_pool_went_back_to(ledger: Ledger) -> None:
    for posting in (EARLY, LATE, EARLY):
        ledger.post("may", posting, replace=True)
    release = ledger.release("may", ["cy"])
    assert ledger.release("may", ["cy"]) == release
    assert ledger.balance("may") == {"ann": 60, "bob": 30, "cy": 10}
    assert ledger.balance("may", "held") == {"cy": 0}
    ledger.post("may", LATE, replace=True)  # reverses the release, too
    assert ledger.balance("may") == {"ann": 40, "bob": 50, "cy": 0}


def test_going_back_is_agreed_to_even_if_nobody_loses_by_it(ledger: Ledger) -> None:
    same = euros("v2", dict(EARLY.amounts), held=dict(EARLY.held))
    ledger.post("may", EARLY)
    ledger.post("may", same)
    with pytest.raises(
        TakesBack, match=r"paid valuation v1 and has since replaced it by v2 .*`royalty payout --replace`"
    ):
        ledger.post("may", EARLY)  # as a retry of the first posting would
    assert ledger.verify().statements == 2
    change = ledger.preview("may", EARLY)
    assert (change.returns, change.repeats, change.kind) == (True, None, "division")
    assert change.replaces is not None
    assert not ledger.preview("may", same).returns


def test_the_database_itself_refuses_to_pay_a_table_twice(ledger: Ledger) -> None:
    first, second = (ledger.post("may", posting, replace=True) for posting in (EARLY, LATE))
    ledger.post("may", EARLY, replace=True)
    third = ledger.statements()[-1].id
    for valuation in ("v1", "v2", returned("v1", second), returned("v1", first), returned("v2", first)):
        assert not _accepts(ledger, valuation), valuation
    assert _accepts(ledger, returned("v2", third)), "the one correction that is next"


def _accepts(ledger: Ledger, valuation: str) -> bool:
    pool = pool_key("may", "")
    row = {"pool": pool, "contributor": "ann", "valuation": valuation, "kind": "payment", "amount_minor": 60}
    with Session(ledger.engine) as session:
        try:
            session.execute(insert(EntryRow), [{"statement": "new", "currency": "EUR", **row}])
        except DatabaseError:
            return False
        finally:
            session.rollback()
    return True


TABLES = {
    "v0": {"ann": 60, "bob": 30, "cy": 10},
    "v1": {"ann": 10, "bob": 90},
    "v2": {"ann": 34, "cy": 66},
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(TABLES)), st.sampled_from(["carry", "reverse"])), max_size=9))
def test_what_is_due_is_what_the_last_table_says_in_any_order_of_tables(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    ledger = Ledger(open_database(f"sqlite:///{tmp_path_factory.mktemp('returns') / 'royalty.db'}"))
    previous, identity = "", ""
    for table, way in steps:
        posting: Posting = euros(table, TABLES[table])
        posted = ledger.post("fund", posting, corrections=way, replace=True)
        assert (posted == identity) == (table == previous), "only a repetition is not posted"
        previous, identity = table, posted
        due: dict[str, int] = {}
        for kind in ("payment", "held", "account"):
            for name, amount in ledger.balance("fund", kind).items():
                due[name] = due.get(name, 0) + amount
        assert {name: amount for name, amount in due.items() if amount} == TABLES[table]
    assert ledger.verify().broken is None

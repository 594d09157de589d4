"""A pool that is divided again: what that changes is known before, is agreed to, and reverses or is carried over."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from royalty.infra.ledger.change import Money, TakesBack
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.stores.database import open_database
from tests.ledgers import euros

FIRST = euros("v1", {"ann": 60, "bob": 30}, held={"cy": 10})
SECOND = euros("v2", {"ann": 40, "bob": 50}, held={"cy": 10})


def test_money_is_taken_back_only_if_that_is_agreed_to(ledger: Ledger) -> None:
    ledger.post("may", FIRST)
    for corrections in ("reverse", "carry"):
        with pytest.raises(TakesBack, match=r"takes €0\.20 from 1 contributor: ann €0\.20\. Nothing was posted"):
            ledger.post("may", SECOND, corrections=corrections)
    assert ledger.verify().statements == 1
    ledger.post("may", euros("v3", {"ann": 70, "bob": 30}, held={"cy": 10}))  # a larger pool takes from nobody
    assert ledger.balance("may") == {"ann": 70, "bob": 30}


def test_a_preview_says_what_posting_then_does(ledger: Ledger) -> None:
    first = ledger.preview("may", FIRST, period="2026-05")
    assert (first.repeats, first.replaces, first.elsewhere, first.taken_back) == (None, None, (), {})
    assert first.totals == (Money(), Money(paid=90, held=10))
    assert ledger.statements() == []
    identity = ledger.post("may", FIRST, period="2026-05")
    ledger.release("may", ["cy"], period="2026-05")

    change = ledger.preview("may", SECOND, period="2026-05")
    assert change.replaces is not None
    assert change.replaces.id == identity
    assert {row.contributor: (row.gets, row.loses) for row in change.people} == {
        "ann": (-20, 20), "bob": (20, 0), "cy": (-10, 10),
    }  # fmt: skip
    assert change.taken_back == {"ann": 20, "cy": 10}
    assert change.totals == (Money(paid=100), Money(paid=90, held=10))
    ledger.post("may", SECOND, period="2026-05", replace=True)
    assert {name: money["paid"] for name, money in paid_and_held(ledger).items()} == {
        row.contributor: row.after.paid for row in change.people
    }

    again = ledger.preview("may", SECOND, period="2026-05")
    assert again.repeats is not None
    assert again.repeats.id == ledger.statements()[-1].id
    assert again.taken_back == {}
    assert [posted.period for posted in ledger.preview("may", SECOND, period="2026-06").elsewhere] == ["2026-05"]
    with pytest.raises(LedgerConflict, match="a pool pays a valuation once"):
        ledger.preview("may", euros("v2", {"ann": 20, "bob": 25}, held={"cy": 5}), period="2026-05")


def paid_and_held(ledger: Ledger) -> dict[str, dict[str, int]]:
    paid, held = (ledger.balance("may", kind, period="2026-05") for kind in ("payment", "held"))
    return {name: {"paid": paid.get(name, 0), "held": held.get(name, 0)} for name in sorted({*paid, *held})}


def test_a_correction_is_carried_to_the_next_period(ledger: Ledger) -> None:
    ledger.post("fund", FIRST, period="2026-05")
    change = ledger.preview("fund", SECOND, period="2026-05", corrections="carry")
    assert change.kind == "correction"
    assert change.taken_back == {"ann": 20}
    assert {row.contributor: row.gets for row in change.people} == {"ann": 0, "bob": 0, "cy": 0}, "nothing moves now"
    identity = ledger.post("fund", SECOND, period="2026-05", corrections="carry", replace=True)
    assert ledger.post("fund", SECOND, period="2026-05", corrections="carry") == identity
    assert ledger.balance("fund", period="2026-05") == {"ann": 60, "bob": 30}
    assert ledger.accounts("fund", "EUR", ["ann", "bob", "cy"], period="2026-06") == {"ann": -20, "bob": 20}
    division, correction = ledger.statements()
    assert (division.active, correction.active) == (True, True)
    assert (correction.kind, correction.paid, correction.moved) == ("correction", {}, {})
    assert correction.accounts == {"ann": -20, "bob": 20}
    assert ledger.balance("fund", "reserve", period="2026-05") == {"": -20}
    assert ledger.balance("fund", "claims", period="2026-05") == {"": 20}

    ledger.post("fund", euros("v3", {"ann": 100}), period="2026-05", replace=True)  # reverses both
    assert [posted.active for posted in ledger.statements()] == [False, False, True]
    assert ledger.accounts("fund", "EUR", ["ann", "bob"], period="2026-07") == {}
    with pytest.raises(LedgerConflict, match="has since replaced it by v3"):
        ledger.post("fund", SECOND, period="2026-05", corrections="carry")


shares = st.dictionaries(st.sampled_from(["ann", "bob", "cy"]), st.integers(0, 99), min_size=1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    divisions=st.lists(shares, min_size=1, max_size=4),
    ways=st.lists(st.sampled_from(["carry", "reverse"]), min_size=4, max_size=4),
)
def test_what_is_due_is_what_the_last_division_says_by_either_way(
    tmp_path_factory: pytest.TempPathFactory, divisions: list[dict[str, int]], ways: list[str]
) -> None:
    own = Ledger(open_database(f"sqlite:///{tmp_path_factory.mktemp('due') / 'royalty.db'}"))
    for index, (amounts, way) in enumerate(zip(divisions, ways, strict=False)):
        change = own.preview("fund", euros(f"v{index}", amounts), corrections=way)
        own.post("fund", euros(f"v{index}", amounts), corrections=way, replace=True)
        due = {row.contributor: row.after.due for row in change.people if row.after.due}
        assert due == {name: amount for name, amount in amounts.items() if amount}
    assert own.verify().broken is None
    kinds = ("payment", "account")
    balances = [own.balance("fund", kind) for kind in kinds]
    assert {name: total for name in divisions[-1] if (total := sum(balance.get(name, 0) for balance in balances))} == {
        name: amount for name, amount in divisions[-1].items() if amount
    }

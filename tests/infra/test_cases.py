"""Decisions of cases, on both databases: what is held is released or returned, awards are paid, and decisions stand."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from sqlalchemy import text

from royalty.infra.ledger.acts import Acts
from royalty.infra.ledger.cases import Award, Case, Cases
from royalty.infra.ledger.change import Money
from royalty.infra.ledger.decisions import decide, held_by
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.stores.tables import Base
from tests.ledgers import euros


@pytest.fixture
def cases(ledger: Ledger) -> Cases:
    return Cases(ledger.engine)


def opened(cases: Cases, *contributors: str) -> Case:
    return cases.open("clerk", claimant="Agency", contributors=contributors or ("cy",), reason="copied works")


def held(case: Case, valuation: str = "v1", **amounts: int) -> object:
    """A division that pays ann, and holds amounts of others because of a case."""
    holds = {name: [f"case {case.id}"] for name in amounts}
    return euros(valuation, {"ann": 60, **dict.fromkeys(amounts, 0)}, held=amounts, terms={"holds": holds})


def money(ledger: Ledger, pool: str, period: str = "") -> dict[str, Money]:
    kinds = {
        kind: ledger.balance(pool, kind, period=period)
        for kind in ("payment", "held", "account", "award", "held-award")
    }
    names = sorted({name for balances in kinds.values() for name in balances if name})
    return {
        name: Money(
            paid=kinds["payment"].get(name, 0),
            held=kinds["held"].get(name, 0) + kinds["held-award"].get(name, 0),
            account=kinds["account"].get(name, 0) + kinds["award"].get(name, 0),
        )
        for name in names
    }


def test_a_release_pays_what_the_case_held_in_every_pool(ledger: Ledger, cases: Cases) -> None:
    case = opened(cases)
    for period in ("2026-05", "2026-06"):
        ledger.post("fund", held(case, cy=40), period=period)
    assert held_by(ledger, case) == {("cy", f"fund 2026-0{month}", "EUR"): 40 for month in (5, 6)}
    with pytest.raises(LedgerConflict, match=f"case {case.id} holds that of 'cy'"):
        ledger.release("fund", ["cy"], period="2026-05")
    decided = decide(ledger, case.id[:6], "judge", outcome="release", reason="own works")
    assert len(decided.statements) == 2
    assert decided.case.state(date(2026, 7, 1)) == "released"
    for period in ("2026-05", "2026-06"):
        assert money(ledger, "fund", period) == {"ann": Money(60), "cy": Money(40)}
        ledger.post("fund", held(case, cy=40), period=period)  # repeating the payout changes nothing
        with pytest.raises(LedgerConflict, match="holds nothing for 'cy'"):
            ledger.release("fund", ["cy"], period=period)
    assert [posted.kind for posted in ledger.statements()] == ["division", "division", "decision", "decision"]
    assert ledger.verify().broken is None
    with pytest.raises(LedgerConflict, match="a decided case is closed"):
        decide(ledger, case.id, "judge", outcome="reverse", reason="again")
    with pytest.raises(LedgerConflict, match="a decided case is closed"):
        cases.add_message(case.id, "ann", "too late")


def test_a_reversal_returns_money_and_awards_come_first(ledger: Ledger, cases: Cases) -> None:
    case = opened(cases)
    ledger.post("fund", held(case, cy=40), period="2026-05")
    awards = [Award("cy", "ann", 25, "EUR"), Award("cy", "dee", 5, "EUR")]
    decide(ledger, case.id, "judge", outcome="reverse", reason="copied", awards=awards)
    assert money(ledger, "fund", "2026-05") == {"ann": Money(60, account=25), "cy": Money(), "dee": Money(account=5)}
    assert ledger.balance("fund", "reserve-award", period="2026-05") == {"": 10}
    assert ledger.accounts("fund", "EUR", ["ann", "cy", "dee"], period="2026-06") == {"ann": 25, "dee": 5}
    assert ledger.departed("fund", "EUR", ["ann"], period="2026-06") == ["dee"]
    ledger.post("fund", held(case, cy=40), period="2026-05")


def test_what_is_not_held_is_awarded_from_the_account(ledger: Ledger, cases: Cases) -> None:
    case = opened(cases, "ann")
    ledger.post("fund", euros("v1", {"ann": 60, "bob": 40}))
    ledger.post("later", euros("v1", {"bob": 5}, accounts={"ann": 20}))
    decide(ledger, case.id, "judge", outcome="release", reason="x", awards=[Award("ann", "bob", 15, "EUR")])
    assert money(ledger, "later") == {"ann": Money(account=5), "bob": Money(5, account=15)}
    assert ledger.accounts("next", "EUR", ["ann", "bob"]) == {"ann": 5, "bob": 15}
    for award in (Award("bob", "ann", 1, "EUR"), Award("ann", "ann", 1, "EUR"), Award("ann", "bob", 0, "EUR")):
        with pytest.raises(LedgerConflict, match="an award is an amount above zero"):
            decide(ledger, opened(cases, "ann").id, "j", outcome="release", reason="x", awards=[award])


def test_no_more_is_awarded_than_the_giver_has(ledger: Ledger, cases: Cases) -> None:
    """Or else takers would be paid, with the next pool, what no pool and no account contains."""
    case = opened(cases, "cy")
    ledger.post("fund", held(case, cy=40), period="2026-05")
    ledger.post("fund", euros("v1", {"ann": 60, "cy": 0}, accounts={"cy": 7}), period="2026-06")
    before = len(ledger.statements())
    too_much = {
        "one award": [Award("cy", "ann", 48, "EUR")],
        "awards together": [Award("cy", "ann", 40, "EUR"), Award("cy", "dee", 8, "EUR")],
        "nothing in this currency": [Award("cy", "ann", 1, "USD")],
    }
    for awards in too_much.values():
        with pytest.raises(LedgerConflict, match="awards are paid from money that their giver has"):
            decide(ledger, case.id, "judge", outcome="reverse", reason="copied", awards=awards)
    with pytest.raises(LedgerConflict, match=r"€0\.48 .* holds €0\.40, and who has €0\.07 .* award at most €0\.47"):
        decide(ledger, case.id, "judge", outcome="reverse", reason="copied", awards=too_much["one award"])
    assert (len(ledger.statements()), cases.case(case.id).is_open) == (before, True), "nothing was posted"
    decide(ledger, case.id, "judge", outcome="reverse", reason="copied", awards=[Award("cy", "ann", 47, "EUR")])
    accounts = ledger.accounts("fund", "EUR", ["ann", "cy"], period="2026-07")
    assert accounts == {"ann": 47}
    with pytest.raises(LedgerConflict, match="a pool pays no more than it and its contributors' accounts contain"):
        ledger.post("fund", euros("v2", {"ann": 148}, pool=100), period="2026-07", brought=accounts)
    owing = opened(cases, "cy")
    ledger.post("other", euros("v1", {"eve": 1}, accounts={"cy": -30}, claims=30))
    ledger.post("other", held(owing, cy=40), period="2026-06", brought={"ann": 47, "cy": -30})
    with pytest.raises(LedgerConflict, match=r"€0\.00 on account\. .* at most €0\.40"):
        decide(ledger, owing.id, "judge", outcome="release", reason="x", awards=[Award("cy", "ann", 41, "EUR")])


def test_a_decision_stands_whatever_becomes_of_the_credit(ledger: Ledger, cases: Cases) -> None:
    case = opened(cases)
    ledger.post("fund", held(case, cy=40), period="2026-05")
    decide(ledger, case.id, "judge", outcome="reverse", reason="copied")
    later = euros("v2", {"ann": 70, "cy": 30})
    with pytest.raises(LedgerConflict, match="is not taken back: this pool is corrected by accounts"):
        ledger.post("fund", later, period="2026-05", replace=True)
    ledger.post("fund", later, period="2026-05", corrections="carry", replace=True)
    assert money(ledger, "fund", "2026-05") == {"ann": Money(60, account=10), "cy": Money(account=-10)}
    identity = ledger.statements()[-1].id
    assert ledger.post("fund", later, period="2026-05", corrections="carry") == identity


def test_money_that_something_else_holds_stays(ledger: Ledger, cases: Cases) -> None:
    first, second = opened(cases, "cy", "dee"), opened(cases, "cy")
    holds = {"cy": [f"case {first.id}", f"case {second.id}"], "dee": [f"case {first.id}"]}
    posting = euros("v1", {"cy": 0, "dee": 0, "eve": 1}, held={"cy": 40, "dee": 30}, terms={"holds": holds})
    ledger.post("fund", posting)
    kept = decide(ledger, first.id, "judge", outcome="release", reason="x").kept
    assert kept == (f"fund still holds €0.40 of cy: case {second.id}",)
    assert money(ledger, "fund") == {"cy": Money(held=40), "dee": Money(30), "eve": Money(1)}
    decide(ledger, second.id, "judge", outcome="release", reason="x")
    assert money(ledger, "fund")["cy"] == Money(40)

    third = opened(cases, "fay")
    terms = {"holds": {"fay": [f"case {third.id}"]}, "unpayable": ["fay"]}
    ledger.post("other", euros("v1", {"fay": 0}, held={"fay": 7}, terms=terms))
    assert decide(ledger, third.id, "judge", outcome="release", reason="x").kept == (
        "other still holds €0.07 of fay: unpayable",
    )
    ledger.release("other", ["fay"])
    assert money(ledger, "other") == {"fay": Money(7)}


def test_two_people_decide_where_payouts_are_approved(ledger: Ledger, cases: Cases) -> None:
    case = opened(cases)
    terms = {"holds": {"cy": [f"case {case.id}"]}, "approval": {"above": "1.00"}}
    ledger.post("fund", euros("v1", {"cy": 0}, held={"cy": 40}, terms=terms))
    with pytest.raises(LedgerConflict, match="moved by two people, and 'clerk' opened"):
        decide(ledger, case.id, "clerk", outcome="release", reason="x")
    assert cases.case(case.id).is_open
    decide(ledger, case.id, "judge", outcome="release", reason="x")
    assert money(ledger, "fund") == {"cy": Money(40)}


def test_tax_is_withheld_from_what_is_released(ledger: Ledger, cases: Cases) -> None:
    case = opened(cases)
    terms = {"holds": {"cy": [f"case {case.id}"]}, "personal": {"cy": {"withholding": "3/20"}}}
    ledger.post("fund", euros("v1", {"cy": 0}, held={"cy": 99}, terms=terms))
    decide(ledger, case.id, "judge", outcome="release", reason="x")
    assert (ledger.balance("fund"), ledger.balance("fund", "withheld")) == ({"cy": 85}, {"cy": 14})
    ledger.post("other", euros("v1", {"cy": 0}, held={"cy": 99}))
    ledger.release("other", ["cy"], withholding={"cy": Fraction(3, 20)})
    assert (ledger.balance("other"), ledger.balance("other", "withheld")) == ({"cy": 85}, {"cy": 14})
    ledger.post("other", euros("v1", {"cy": 0}, held={"cy": 99}))
    ledger.post("other", euros("v1", {"cy": 85}, withheld={"cy": 14}))
    with pytest.raises(LedgerConflict, match="a pool pays a valuation once"):
        ledger.post("other", euros("v1", {"cy": 99}))


def test_statements_show_that_acts_were_removed(ledger: Ledger, cases: Cases) -> None:
    case = opened(cases)
    acts = Acts(ledger.engine)
    ledger.post("fund", euros("v1", {"ann": 1}, terms={"acts": acts.head()}))
    assert acts.problems() == []
    with ledger.engine.begin() as connection:  # by the owner of the database, who can drop triggers
        connection.execute(text("DROP TABLE acts"))
        Base.metadata.tables["acts"].create(connection)
    assert "was posted after an act" in acts.problems()[0]
    assert case.acts[0].hash[:12] in acts.problems()[0]

"""Checks of payees, and when a payout waits for a second person."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from royalty.models.base.errors import InputError
from royalty.models.payout.approval import ApprovalRules, reasons_to_wait, same_person
from royalty.models.payout.payees import Payee, unchecked
from royalty.models.payout.standing import Checks, Standing, read_standing, unmet

TODAY = date(2026, 6, 30)
PASSED = Standing(identity="verified", identity_date="2026-01-01", sanctions="clear", sanctions_date="2026-06-01")


@pytest.mark.parametrize(
    ("standing", "checks", "reasons"),
    [
        (Standing(), Checks(), []),
        (PASSED, Checks(identity=True, sanctions=True, max_age_days=180), []),
        (PASSED, Checks(identity=True, max_age_days=179), ["identity check 180 days old, of at most 179"]),
        (Standing(), Checks(identity=True, sanctions=True), ["identity not known", "sanctions status not known"]),
        (Standing(identity="pending"), Checks(identity=True), ["identity pending"]),
        (Standing(sanctions="hit"), Checks(), ["sanctions status hit"]),
        (Standing(identity="failed"), Checks(sanctions=False), ["identity failed"]),
        (
            Standing(sanctions="clear"),
            Checks(sanctions=True, max_age_days=1),
            ["sanctions status check without a date, of at most 1"],
        ),
    ],
)
def test_which_checks_a_payee_has_not_passed(standing: Standing, checks: Checks, reasons: list[str]) -> None:
    assert unmet(standing, checks, TODAY) == reasons


def test_who_has_no_payee_has_passed_no_check() -> None:
    payees = {"ann": Payee("Ann", "acc", "", standing=PASSED)}
    assert unchecked(payees, ["bob", "ann"], Checks(identity=True), TODAY) == {"bob": ["identity not known"]}
    assert unchecked(None, ["ann"], Checks(identity=True), TODAY) == {"ann": ["identity not known"]}
    assert unchecked(None, ["ann"], Checks(), TODAY) == {}


def test_columns_are_read_and_checked() -> None:
    row = {
        "identity": " Verified ", "identity_date": "2026-01-02", "sanctions": "CLEAR", "sanctions_date": "",
        "check_reference": "prov-1", "tax_form": "w-8ben", "tax_form_date": "2025-12-31", "tax_id": "123",
        "withholding": "15 %",
    }  # fmt: skip
    assert read_standing(row, "row 2") == Standing(
        "verified", "2026-01-02", "clear", "", "prov-1", "W-8BEN", "2025-12-31", "123", Decimal(15)
    )
    assert read_standing({}, "row 2") == Standing()
    for column, text in (
        ("identity", "yes"),
        ("sanctions", "ok"),
        ("tax_form", "W-7"),
        ("identity_date", "1.2.2026"),
        ("withholding", "101"),
        ("withholding", "nan"),
        ("withholding", "some"),
    ):
        with pytest.raises(InputError, match=f"row 2: `{column}`"):
            read_standing({column: text}, "row 2")


def test_why_a_payout_waits() -> None:
    def reasons(rules: ApprovalRules, gets: dict[str, int], loosened: bool = False) -> list[str]:
        return reasons_to_wait(
            rules, gets, paid_before={"ann"}, moved={"ann"}, loosened=loosened, money=lambda minor: f"{minor} c"
        )

    gets = {"ann": 60, "bob": 41, "cy": 0, "dee": -5}
    assert reasons(ApprovalRules(), gets) == []
    assert reasons(ApprovalRules(above=101), gets) == []
    assert reasons(ApprovalRules(above=100), gets) == ["it pays 101 c, which is above 100 c"]
    assert reasons(ApprovalRules(first_payee=True), gets) == ["it pays for the first time bob"]
    assert reasons(ApprovalRules(changed_account=True), gets) == ["it pays into another account than the last time ann"]
    loosened = "its rules of approval are not those that the pool was last divided by"
    assert reasons(ApprovalRules(), gets, loosened=True) == [loosened]
    # Otherwise a posting that pays nobody would set the rules for the next one.
    assert reasons(ApprovalRules(0, True, True), {"dee": -5}, loosened=True) == [loosened]


def test_one_person_has_one_name() -> None:
    assert same_person("Ann Lee", " ann  LEE")
    assert same_person("\uff21nn", "ann")
    assert same_person("ann\u200b", "ann"), "nobody sees the difference"
    assert same_person("r\u043e\u043et", "root"), "Cyrillic letters"
    assert same_person("\u0412\u041e\u0412", "bob"), "Cyrillic letters that look so in capitals only"
    assert same_person("AI", "Al")
    assert not same_person("ann", "bob")
    assert not same_person("\u043e\u043b\u044f", "ola")

"""Annual statements of contributors, and totals for tax authorities, from the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd

from royalty.infra.ledger.balances import Accounts, Movement, accounts_of
from royalty.infra.ledger.money import decimals_of, major_units
from royalty.infra.pages.annual import AnnualStatement, CurrencyYear, annual_message, annual_text, render_annual
from royalty.infra.pages.cells import csv_bytes
from royalty.infra.pages.contributors import file_of
from royalty.infra.pages.language import Language
from royalty.infra.pages.pdf import print_pdf
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.conversion import converted
from royalty.models.payout.payees import Payee

LEAST_ROYALTIES = Decimal("10.00")
"""US dollars of royalties in a year from which a payer files form 1099-MISC (instructions of the form, box 2)."""
DAC7 = [
    "contributor", "seller_name", "address", "town", "country", "tin", "birth_date", "registration_number", "account",
    "currency",
    *(f"{part}_q{quarter}" for quarter in range(1, 5) for part in ("consideration", "activities", "fees", "taxes")),
]  # fmt: skip
"""Columns of the totals for DAC7."""
FIRST_YEAR, LAST_YEAR = 2000, 2999
Payees = Mapping[str, Payee] | None


def annual_statement(
    space: Workspace, contributor: str, year: int, payees: Payees, payer: str, language: Language
) -> AnnualStatement:
    """The statement of a contributor for a calendar year (UTC), in every currency.

    Raises:
        InputError: no statement of the ledger names the contributor.
    """
    check_year(year)
    accounts = accounts_of(space.ledger, contributor)
    if not accounts.movements:
        raise InputError(
            f"an annual statement is of somebody who has money in the ledger, and {contributor!r} has none"
        )
    payee = (payees or {}).get(contributor, Payee(contributor, "", ""))
    years = [_year(accounts, contributor, currency, year) for _, currency in sorted(accounts.movements)]
    return AnnualStatement(
        contributor=contributor,
        name=payee.name,
        year=year,
        payer=payer,
        facts=tuple((title, text) for title, text in _facts(payee, language) if text),
        currencies=tuple(each for each in years if each.movements or each.closing != type(each.closing)()),
        head=space.ledger.verify().head,
        created_at=datetime.now(UTC).isoformat(timespec="minutes"),
    )


def write_annual(space: Workspace, statement: AnnualStatement, language: Language, *, pdf: bool) -> list[Path]:
    """Write a statement to `statements/YEAR` in the home: as a page, as text, as a message, and optionally as PDF."""
    folder = space.root / "statements" / str(statement.year)
    page = folder / Path(file_of(statement.contributor)).name
    payloads = {
        page: render_annual(statement, language).encode(),
        page.with_suffix(".txt"): annual_text(statement, language).encode(),
        page.with_suffix(".eml"): annual_message(statement, language),
    }
    for path, payload in payloads.items():
        write_whole(path, payload)
    if not pdf:
        return list(payloads)
    print_pdf(page, page.with_suffix(".pdf"))
    return [*payloads, page.with_suffix(".pdf")]


def form_1099_misc(space: Workspace, year: int, payees: Payees) -> tuple[bytes, list[str]]:
    """Totals for form 1099-MISC as CSV: royalties (box 2) and federal tax withheld (box 4), in US dollars.

    It has the payees with a W-9 who got at least 10 dollars, and everybody with a W-9, or without a form, from whom tax
    was withheld. Payments from pools in other currencies count at the rate at which they were made in dollars.

    Returns:
        The file, and sentences about payees with a W-9, or of the US without a form, whose payments it leaves out.
    """
    check_year(year)
    rows, notes = [], []
    by_contributor: dict[str, list[Movement]] = defaultdict(list)
    for (contributor, _), moves in sorted(accounts_of(space.ledger).movements.items()):
        by_contributor[contributor] += _paid_in(moves, year)
    for contributor, moves in by_contributor.items():
        payee = (payees or {}).get(contributor, Payee(contributor, "", ""))
        amounts = [dollars for move in moves if (dollars := _dollars(move)) is not None]
        gross, tax = (
            (sum(parts, Decimal("0.00")) for parts in zip(*amounts, strict=True)) if amounts else (Decimal(), 0)
        )
        form = payee.standing.tax_form
        counts = (form == "W-9" and gross >= LEAST_ROYALTIES) or (form in ("", "W-9") and tax)
        if counts:
            rows.append(
                {
                    "contributor": contributor,
                    "recipient_name": payee.name,
                    "recipient_tin": payee.standing.tax_id,
                    "tax_form": form or "none",
                    "tax_form_date": payee.standing.tax_form_date,
                    "box_2_royalties": f"{gross:f}",
                    "box_4_federal_income_tax_withheld": f"{tax:f}",
                }
            )
        if form == "W-9" or (payee.country == "US" and not form):
            if gross and not counts:
                why = "without a tax form" if not form else f"less than {LEAST_ROYALTIES}"
                notes.append(f"{contributor} is left out: paid {gross:f} USD, {why}")
            notes += [
                f"{contributor}: {amount} is left out, because no rate to US dollars was stated for it; add it at a "
                "rate of yours"
                for amount in _without_dollars(moves)
            ]
    columns = ["contributor", "recipient_name", "recipient_tin", "tax_form", "tax_form_date", "box_2_royalties",
               "box_4_federal_income_tax_withheld"]  # fmt: skip
    return csv_bytes(pd.DataFrame(rows, columns=columns)), notes


def dac7(space: Workspace, year: int, payees: Payees) -> tuple[bytes, list[str]]:
    """Totals for DAC7 (EU directive 2021/514) as CSV: consideration, payments and tax withheld, by quarter.

    It has everybody who was paid in the year, a row for each currency. Fees are left empty: no ledger holds them.

    Returns:
        The file, and no sentences.
    """
    check_year(year)
    rows = []
    for (contributor, currency), moves in sorted(accounts_of(space.ledger).movements.items()):
        payee = (payees or {}).get(contributor, Payee(contributor, "", ""))
        row = {
            "contributor": contributor,
            "seller_name": payee.name,
            "address": payee.standing.address,
            "town": payee.town,
            "country": payee.country,
            "tin": payee.standing.tax_id,
            "birth_date": payee.standing.birth_date,
            "registration_number": payee.standing.registration_number,
            "account": payee.account,
            "currency": currency,
        }
        for quarter in range(1, 5):
            paid = [move for month in range(3 * quarter - 2, 3 * quarter + 1) for move in _paid_in(moves, year, month)]
            tax = sum(move.money.withheld for move in paid)
            gross = tax + sum(move.money.paid for move in paid)
            row[f"consideration_q{quarter}"] = f"{major_units(gross, currency):f}"
            row[f"activities_q{quarter}"] = str(len(paid))
            row[f"fees_q{quarter}"] = ""
            row[f"taxes_q{quarter}"] = f"{major_units(tax, currency):f}"
        if _paid_in(moves, year):
            rows.append(row)
    return csv_bytes(pd.DataFrame(rows, columns=DAC7)), []


FORMS = {"1099-misc": form_1099_misc, "dac7": dac7}


def check_year(year: int) -> None:
    """Check that a number is a year.

    Raises:
        InputError: it is not.
    """
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise InputError(f"a year is a number such as 2026, got {year}; correct it")


def _paid_in(moves: list[Movement], year: int, month: int | None = None) -> list[Movement]:
    """What statements of a year, or of a month of it, paid or withheld."""
    start = f"{year}-" if month is None else f"{year}-{month:02}-"
    return [move for move in moves if move.day.startswith(start) and (move.money.paid or move.money.withheld)]


def _dollars(move: Movement) -> tuple[Decimal, Decimal] | None:
    """Gross payment and tax in US dollars; None if it was made in another currency."""
    unit, rate = (move.currency, "1") if move.currency == "USD" else move.converted or ("", "")
    if unit != "USD":
        return None
    gross, tax = (
        converted(major_units(minor, move.currency), Decimal(rate), decimals_of(unit))
        for minor in (move.money.paid + move.money.withheld, move.money.withheld)
    )
    return gross, tax


def _without_dollars(moves: list[Movement]) -> list[str]:
    """Gross payments that have no amount in US dollars, by currency."""
    left: dict[str, int] = defaultdict(int)
    for move in moves:
        left[move.currency] += 0 if _dollars(move) is not None else move.money.paid + move.money.withheld
    return [f"{major_units(minor, unit):f} {unit}" for unit, minor in left.items() if minor]


def _year(accounts: Accounts, contributor: str, currency: str, year: int) -> CurrencyYear:
    moves = [move for move in accounts.movements[contributor, currency] if move.day.startswith(f"{year}-")]
    paid = [(move, *move.converted) for move in moves if move.converted is not None]
    return CurrencyYear(
        currency=currency,
        opening=accounts.balance(contributor, currency, before=f"{year}"),
        closing=accounts.balance(contributor, currency, before=f"{year + 1}"),
        movements=tuple(moves),
        converted=tuple(
            (
                move.day,
                converted(major_units(move.money.paid, currency), Decimal(rate), decimals_of(unit)),
                unit,
                rate,
            )
            for move, unit, rate in paid
        ),
    )


def _facts(payee: Payee, language: Language) -> list[tuple[str, str]]:
    standing, t = payee.standing, language.text
    dated = standing.tax_form and standing.tax_form_date
    form = t("tax_form_dated", form=standing.tax_form, date=dated) if dated else standing.tax_form
    checks = [
        t("check_dated", check=t(f"{name}_{status}"), date=day) if day else t(f"{name}_{status}")
        for name, status, day in (
            ("identity", standing.identity, standing.identity_date),
            ("sanctions", standing.sanctions, standing.sanctions_date),
        )
        if status
    ]
    return [
        (t("payee_account"), t("ends_with", end=payee.account[-4:]) if len(payee.account) > 8 else payee.account),
        (t("country"), payee.country),
        (t("tax_form"), form),
        (t("tax_number"), t("ends_with", end=standing.tax_id[-4:]) if len(standing.tax_id) > 4 else standing.tax_id),
        (t("checks"), ", ".join(checks)),
    ]

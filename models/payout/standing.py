"""What is known of a payee beside the account: identity and sanctions checks, and tax status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Literal, cast, get_args

from royalty.models.base.errors import InputError

Identity = Literal["", "verified", "pending", "failed"]
Sanctions = Literal["", "clear", "pending", "hit"]
TaxForm = Literal["", "W-9", "W-8BEN", "W-8BEN-E", "W-8ECI", "W-8EXP", "W-8IMY"]
COLUMNS = (
    "identity", "identity_date", "sanctions", "sanctions_date", "check_reference",
    "tax_form", "tax_form_date", "tax_id", "withholding", "address", "birth_date", "registration_number",
)  # fmt: skip
"""Columns of `contributors.csv` that state this."""


@dataclass(frozen=True)
class Standing:
    """What checks by a provider and forms say of a payee; empty: not known.

    Attributes:
        identity, identity_date: result of the check of the payee's identity, and its date, YYYY-MM-DD.
        sanctions, sanctions_date: result of the search of sanctions lists, and its date.
        reference: the provider's reference to these checks.
        tax_form, tax_form_date: the form that the payee gave, and the date of its signature.
        tax_id: number of the payee at a tax authority.
        withholding: percent of payments that is withheld as tax, in [0, 100]; None: by the terms of the payout.
        address, birth_date, registration_number: street and place, date of birth, and number in a register of
            companies, for tax authorities.
    """

    identity: Identity = ""
    identity_date: str = ""
    sanctions: Sanctions = ""
    sanctions_date: str = ""
    reference: str = ""
    tax_form: TaxForm = ""
    tax_form_date: str = ""
    tax_id: str = ""
    withholding: Decimal | None = None
    address: str = ""
    birth_date: str = ""
    registration_number: str = ""


UNKNOWN = Standing()


@dataclass(frozen=True)
class Checks:
    """What is required of payees before they are paid.

    Attributes:
        identity, sanctions: whether the identity must be verified, and the sanctions lists searched without a hit.
        max_age_days: days after which a check counts no more; None: never.
    """

    identity: bool = False
    sanctions: bool = False
    max_age_days: int | None = None


def read_standing(row: Mapping[str, str], where: str) -> Standing:
    """Read the columns of a row; those that the table has not are empty.

    Raises:
        InputError: a status is unknown, a date is none, or a rate is not within 0 and 100.
    """

    def one_of(column: str, allowed: object, change: Callable[[str], str]) -> str:
        text = change(row.get(column, "").strip())
        known = [value for value in get_args(allowed) if value]
        if text and text not in known:
            raise InputError(f"{where}: `{column}` is {', '.join(known)} or empty, got {row[column]!r}; correct it")
        return text

    def day(column: str) -> str:
        text = row.get(column, "").strip()
        try:
            return date.fromisoformat(text).isoformat() if text else ""
        except ValueError:
            raise InputError(f"{where}: `{column}` is a date, YYYY-MM-DD, got {text!r}; correct it") from None

    form = one_of("tax_form", TaxForm, lambda text: text.upper().replace(" ", "-").replace("W9", "W-9"))
    texts = {
        name: row.get(name, "").strip() for name in ("check_reference", "tax_id", "address", "registration_number")
    }
    dates = {name: day(name) for name in ("identity_date", "sanctions_date", "tax_form_date", "birth_date")}
    return Standing(
        identity=cast(Identity, one_of("identity", Identity, str.lower)),
        identity_date=dates["identity_date"],
        sanctions=cast(Sanctions, one_of("sanctions", Sanctions, str.lower)),
        sanctions_date=dates["sanctions_date"],
        reference=texts["check_reference"],
        tax_form=cast(TaxForm, form),
        tax_form_date=dates["tax_form_date"],
        tax_id=texts["tax_id"],
        withholding=_percent(row.get("withholding", "").strip(), where),
        address=texts["address"],
        birth_date=dates["birth_date"],
        registration_number=texts["registration_number"],
    )


def _percent(text: str, where: str) -> Decimal | None:
    try:
        rate = Decimal(text.removesuffix("%").strip()) if text else None
    except InvalidOperation:
        rate = Decimal("nan")
    if rate is not None and not (rate.is_finite() and 0 <= rate <= 100):
        raise InputError(f"{where}: `withholding` is a percentage from 0 to 100, got {text!r}; correct it")
    return rate


def unmet(standing: Standing, checks: Checks, today: date) -> list[str]:
    """Which checks a payee has not passed, in words; empty if the payee may be paid.

    Args:
        today: by which the age of checks is measured.
    """
    reasons = []
    for required, name, status, passed, checked in (
        (checks.identity, "identity", standing.identity, "verified", standing.identity_date),
        (checks.sanctions, "sanctions status", standing.sanctions, "clear", standing.sanctions_date),
    ):
        # A hit and a failed check hold money even where no check is required.
        if status != passed and (required or status in ("failed", "hit")):
            reasons.append(f"{name} {status or 'not known'}")
        elif required and checks.max_age_days is not None:
            age = (today - date.fromisoformat(checked)).days if checked else None
            if age is None or not 0 <= age <= checks.max_age_days:
                dated = "without a date" if age is None else f"{age} days old"
                reasons.append(f"{name} check {dated}, of at most {checks.max_age_days}")
    return reasons

"""Terms of single contributors: by where their payees live, by tax forms and by the currency of their accounts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Any

from royalty.models.payout.division import STANDARD, Personal
from royalty.models.payout.payees import Payee
from royalty.models.payout.standing import UNKNOWN
from royalty.tasks.config.payout import PayoutConfig


def personal_of(
    config: PayoutConfig, payees: Mapping[str, Payee] | None, contributors: Collection[str]
) -> dict[str, Any]:
    """Personal terms as JSON, by contributor; those who have the terms of all are left out."""
    known = {name: _personal(config, (payees or {}).get(name)) for name in sorted(contributors)}
    return {name: as_json(own) for name, own in known.items() if own != STANDARD}


def as_json(own: Personal) -> dict[str, Any]:
    parts = {"minimum": own.minimum, "reserve": str(own.reserve), "withholding": str(own.withholding)}
    return {name: value for name, value in parts.items() if value not in (None, "0")}


def converted_of(
    config: PayoutConfig, payees: Mapping[str, Payee] | None, contributors: Collection[str]
) -> dict[str, list[str]]:
    """Currency and rate of each contributor who is paid in another currency than the pool's."""
    rates = config.conversion.rates if config.conversion is not None else {}
    currencies = {name: payees[name].currency for name in sorted(contributors) if name in payees} if payees else {}
    return {
        name: [unit, str(rates[unit])] for name, unit in currencies.items() if unit != config.currency and unit in rates
    }


def _personal(config: PayoutConfig, payee: Payee | None) -> Personal:
    country = config.countries.get(payee.country) if payee is not None and payee.country else None
    standing = payee.standing if payee is not None else UNKNOWN
    rule = config.withholding
    percent = standing.withholding
    if percent is None:
        percent = rule.rate if standing.tax_form else rule.without_form
    minimum = None if country is None or country.minimum is None else int(country.minimum.scaleb(config.digits))
    return Personal(minimum, Fraction(country.reserve if country else 0), Fraction(percent) / 100)

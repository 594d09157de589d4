"""Amounts of money, which are counted in whole minor units, as people write them."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import format_currency, get_currency_precision


def decimals_of(currency: str) -> int:
    """Decimals of an ISO 4217 currency: 2 of EUR, 0 of JPY, 3 of KWD."""
    return int(get_currency_precision(currency))


def major_units(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-decimals_of(currency))


def formatted(minor: int, currency: str) -> str:
    """With the currency's sign and separators, such as €1,000.00."""
    return str(format_currency(major_units(minor, currency), currency, locale="en"))

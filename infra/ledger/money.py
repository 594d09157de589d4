"""Format amounts of money, which are counted in whole minor units."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import format_currency, get_currency_precision


def decimals_of(currency: str) -> int:
    """Number of decimals of an ISO 4217 currency: 2 for EUR, 0 for JPY, 3 for KWD."""
    return int(get_currency_precision(currency))


def major_units(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-decimals_of(currency))


def formatted(minor: int, currency: str, locale: str = "en") -> str:
    """The amount with the currency's sign and separators, such as €1,000.00 in English."""
    return str(format_currency(major_units(minor, currency), currency, locale=locale))

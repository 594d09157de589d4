"""Convert amounts of money between currencies at a stated rate."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal


def converted(amount: Decimal, rate: Decimal, decimals: int) -> Decimal:
    """An amount in another currency, rounded half to even to its smallest unit.

    Args:
        amount: in units of the first currency.
        rate: units of the other currency for one unit of the first.
        decimals: of the other currency.

    Examples:
        >>> converted(Decimal("10.00"), Decimal("162.415"), 0)
        Decimal('1624')
    """
    return (amount * rate).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)

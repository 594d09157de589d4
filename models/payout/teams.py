"""Divide the shares of teams among their members, by their weights."""

from __future__ import annotations

from collections.abc import Mapping

from royalty.models.data.teams import SEPARATOR, members
from royalty.models.payout.apportionment import bounded_shares, largest_remainder


def shares_of_people(shares: Mapping[str, int]) -> dict[str, int]:
    """Divide the shares of teams to the smallest unit (largest remainder); people keep theirs.

    Args:
        shares: whole minor units by contributor; not negative.

    Returns:
        Whole minor units by person, with the same sum, in the order of the contributors.

    Examples:
        >>> shares_of_people({"a:2;b:1": 100, "b": 10})
        {'a': 67, 'b': 43}
    """
    totals: dict[str, int] = {}
    for contributor, share in shares.items():
        if SEPARATOR not in contributor:
            totals[contributor] = totals.get(contributor, 0) + share
            continue
        weights = members(contributor)
        parts = largest_remainder(bounded_shares(share, list(weights.values()), low=0, high=share))
        for name, part in zip(weights, parts if len(weights) > 1 else [share], strict=True):
            totals[name] = totals.get(name, 0) + part
    return totals

"""Hysteresis: money moves only where credit has surely moved."""

from __future__ import annotations

from collections.abc import Mapping

from royalty.models.payout.policies import Credit
from royalty.models.valuation.intervals import told_apart


def has_moved(before: Credit, now: Credit) -> bool:
    """Whether a credit has surely moved: the intervals before and now do not overlap."""
    return told_apart((before.low, before.high), (now.low, now.high))


def effective_credits(now: Mapping[str, Credit], before: Mapping[str, Credit]) -> dict[str, Credit]:
    """The credit to divide a pool by: that of before where it is not certain to have moved, and the new one elsewhere.

    Applying it to its own result changes nothing, so that a division can be repeated.

    Args:
        now: newly estimated credit, by contributor; the result has the same contributors.
        before: the credit by which the pool was divided last.
    """
    return {
        name: before[name] if name in before and not has_moved(before[name], credit) else credit
        for name, credit in now.items()
    }

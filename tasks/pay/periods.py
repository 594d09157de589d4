"""The period of a payout, by the date of the flow run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import prefect.runtime

from royalty.models.payout.periods import period_of
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.stages import DividedPool


def in_period(terms: PayoutConfig) -> PayoutConfig:
    """Terms with their period: the one that is set, or else the one that `period_from` gives for this flow run.

    The date is the one that the flow run was scheduled for, which a late start does not change; or today.
    """
    if terms.period is not None:
        return terms.model_copy(update={"period_from": None})  # the period that is set does not follow from a date
    if terms.period_from is None:
        return terms
    scheduled = prefect.runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    return terms.model_copy(update={"period": period_of(scheduled.astimezone(UTC).date(), terms.period_from)})


def unless_paid(division: DividedPool, terms: PayoutConfig) -> DividedPool:
    """Say that a period which follows from a date is paid once, if other credit has already divided its pool.

    Args:
        terms: result of `in_period`.
    """
    paid = division.change.replaces if division.change else None
    if terms.period_from is None or paid is None:
        return division
    unposted = (
        f"{terms.period} was paid on {paid.created_at[:10]} by statement {paid.id}, and a period that follows from a "
        "date is paid once: nothing was posted. The credit has changed since; the next period is paid by the new "
        "credit. To correct this one, name it (`--period`) and agree to what that takes back (`--replace`)."
    )
    return replace(division, unposted=unposted)

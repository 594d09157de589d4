"""Events about payouts and credit, for Prefect's automations; see `royalty.infra.tracking.events`."""

from __future__ import annotations

from collections.abc import Sequence

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.summary import Moved
from royalty.infra.tracking.events import emit
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.stages import DividedPool


def announce_posted(posted: Posted, config: PayoutConfig) -> None:
    """Say that a statement was posted, and that it holds money, if it does."""
    pool = " ".join(filter(None, (posted.pool, posted.period)))
    facts = {"pool": posted.pool, "period": posted.period, "statement": posted.id, "kind": posted.kind}
    paid = [amount for amount in posted.moved.values() if amount > 0]
    resource = f"royalty.pool.{posted.pool}"
    emit("royalty.payout.posted", resource, pool, facts | {"amount": config.formatted(sum(paid)), "people": len(paid)})
    if held := [amount for amount in posted.held.values() if amount > 0]:
        emit(
            "royalty.payout.held", resource, pool, facts | {"amount": config.formatted(sum(held)), "people": len(held)}
        )


def announce_refused(division: DividedPool, config: PayoutConfig) -> None:
    """Say that a payout was refused; the reason may name contributors, so that it is left out."""
    pool, period = division.inputs.pool, division.inputs.period
    facts = {"pool": pool, "period": period, "amount": config.formatted(config.minor_units)}
    emit("royalty.payout.refused", f"royalty.pool.{pool}", " ".join(filter(None, (pool, period))), facts)


def announce_moved(run: str, moved: Sequence[Moved]) -> None:
    """Say that a revaluation moved credit, and for how many contributors that is certain."""
    if moved:
        facts = {"run": run, "people": len(moved), "certain": sum(row.certain for row in moved)}
        emit("royalty.credit.moved", f"royalty.run.{run}", run, facts)

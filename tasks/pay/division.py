"""Divide a pool by credit, and post it to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.ledger.postings import OthersPool, Posting
from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.payout.payees import Payee, shared_accounts, unpayable
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import Credited, load_table
from royalty.tasks.pay.dividing import division_by, refused
from royalty.tasks.pay.stages import PAY, DividedPool, Paid, PayInputs
from royalty.tasks.stages.running import run_here

UNNAMED = {"name", "period", "payees", "debtor", "execution_date"}
"""Settings that do not change the division, so that the inputs of the stage leave them out."""
MODULES = ("royalty.tasks.pay.dividing",)
"""Modules with the code of the stage."""


@task(cache_policy=NO_CACHE)
def pay(
    credit: Credited,
    config: PayoutConfig,
    pool_name: str,
    *,
    payees: Mapping[str, Payee] | None = None,
    source: str | None = None,
    replace_other_runs: bool = False,
    post: bool = True,
) -> DividedPool:
    """Divide a pool, and post the payout to the ledger unless it is refused.

    Args:
        payees: payees by contributor. Money is held for contributors without a payee in the currency of the pool.
            None: all are paid by name.
        source: the run that the credit belongs to.
        replace_other_runs: allow a pool to be paid again by the credit of another run.
        post: post to the ledger; otherwise only compute the division.
    """
    space = open_workspace(settings())
    table = load_table(space, credit.outputs.table)
    inputs = _inputs(space, credit, table["contributor"].tolist(), config, pool_name, payees)
    divided = run_here(PAY, inputs, division_by(table, inputs, config))
    division = DividedPool(divided, shared_accounts(payees, table["contributor"].tolist()), statement=None)
    if divided.outputs.refusal or not post:
        return division
    try:
        statement = space.ledger.post(
            pool_name,
            _posting(divided, config, source),
            period=inputs.period,
            brought=inputs.brought,
            replace_other_runs=replace_other_runs,
        )
    except OthersPool as conflict:  # recorded as a refusal: the flow goes on, and the report shows it
        refusal = refused(space.artifacts, table, config, str(conflict))
        return replace(division, stage=replace(divided, outputs=refusal))
    return replace(division, statement=statement)


@task(cache_policy=NO_CACHE)
def release_held(pool_name: str, config: PayoutConfig, contributors: Sequence[str]) -> str:
    """Pay the amounts that a pool holds for contributors; returns the id of the statement."""
    ledger = open_workspace(settings()).ledger
    return ledger.release(pool_name, contributors, period=config.period or "")


def is_current(paid: Paid) -> bool:
    """Whether the present code would give this division the same key."""
    return PAY.key(paid.inputs, MODULES) == paid.key


def _inputs(
    space: Workspace,
    credit: Credited,
    names: list[str],
    config: PayoutConfig,
    pool_name: str,
    payees: Mapping[str, Payee] | None,
) -> PayInputs:
    diagnostics, period = credit.outputs.diagnostics, config.period or ""
    return PayInputs(
        table=credit.outputs.table,
        failed=[len(credit.outputs.failed), credit.outputs.trained],
        config=config.model_dump(mode="json", exclude=UNNAMED),
        pool=pool_name,
        period=period,
        unpayable=sorted(unpayable(payees, names, config.currency)),
        brought=space.ledger.accounts(pool_name, config.currency, names, period=period),
        efficiency_gap=diagnostics["efficiency_gap"],
        marginal_error=diagnostics.get("marginal_error", 0.0),
    )


def _posting(divided: Paid, config: PayoutConfig, source: str | None) -> Posting:
    settlements = divided.outputs.settlements
    return Posting(
        valuation=divided.inputs.table,
        currency=config.currency,
        amounts={name: row.amount for name, row in settlements.items()},
        held={name: row.held for name, row in settlements.items() if row.held},
        accounts={name: row.account for name, row in settlements.items() if row.account},
        reserve=divided.outputs.reserve,
        claims=sum(row.claims for row in settlements.values()),
        pool=config.minor_units,
        source=source,
        terms={**divided.inputs.config, "unpayable": divided.inputs.unpayable},
    )

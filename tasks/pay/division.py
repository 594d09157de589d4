"""Divide a pool by credit, and post it to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import Any

import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.ledger.bases import credit_before
from royalty.infra.ledger.change import TakesBack
from royalty.infra.ledger.postings import OthersPool, Posting
from royalty.infra.settings import settings
from royalty.infra.stores.chain import GENESIS
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.data.names import look_the_same
from royalty.models.data.teams import people
from royalty.models.payout.gates import relative_stderr
from royalty.models.payout.payees import Payee, confusable, shared_accounts, unpayable
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import Credited, load_table
from royalty.tasks.pay.dividing import division_by, refused
from royalty.tasks.pay.evidence import division_evidence, store_payees
from royalty.tasks.pay.holds import holds_of
from royalty.tasks.pay.personal import converted_of, personal_of
from royalty.tasks.pay.stages import PAY, DividedPool, Paid, PayInputs, posted_terms
from royalty.tasks.pay.usage_stages import Used, UseOutputs
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.task import task

UNNAMED = {
    "name", "period", "period_from", "payees", "debtor", "execution_date", "post", "take_back", "corrections",
    "approval", "checks", "countries", "withholding", "conversion",
}  # fmt: skip
"""Settings that do not change the division, so that the inputs of the stage leave them out."""
RULES = ("approval", "checks", "countries", "withholding", "conversion")
"""Of these, settings that decide who is paid when and how, so that a statement records them where they are set."""
MODULES = ("royalty.tasks.pay.dividing",)
"""Modules with the code of the stage."""


@task(name="divide the pool", cache_policy=NO_CACHE)
def divide(
    credit: Credited | Used,
    config: PayoutConfig,
    pool_name: str,
    *,
    payees: Mapping[str, Payee] | None = None,
    source: str | None = None,
) -> DividedPool:
    """Divide a pool, and find out what posting the division would change. Nothing is posted.

    Args:
        credit: of a run, or credit and use together.
        payees: payees by contributor. Money is held for contributors without a payee in the currency of the pool.
            None: all are paid by name.
        source: the run that the credit belongs to.
    """
    space = open_workspace(settings())
    table = load_table(space, credit.outputs.table)
    inputs = _inputs(space, credit, table, config, pool_name, payees, source)
    before = None if inputs.before is None else load_table(space, inputs.before)
    divided = run_here(PAY, inputs, division_by(table, before, inputs, config))
    names = people(table["contributor"])
    division = DividedPool(
        divided, shared_accounts(payees, names), source, None, None, lookalikes=confusable(payees, names)
    )
    if divided.outputs.refusal:
        return division
    change = space.ledger.preview(
        pool_name, posting_of(divided, config, source), period=inputs.period, corrections=config.corrections
    )
    division = replace(division, remarks=_similar_pools(space, pool_name, inputs.period))
    statement = change.repeats.id if change.repeats else None
    return replace(division, change=change, statement=statement)


@task(name="post the division", cache_policy=NO_CACHE)
def post(
    division: DividedPool,
    config: PayoutConfig,
    *,
    payees: Mapping[str, Payee] | None = None,
    replace_paid: bool = False,
    approved: str | None = None,
) -> DividedPool:
    """Post a division to the ledger; one that the terms or the ledger refuse is returned as a refusal.

    Args:
        payees: as for `divide`; the statement holds the digest of their accounts.
        replace_paid: take money back from contributors, and replace what the pool paid on another run's credit.
        approved: hash of the act by which a second person approved it.
    """
    space, divided = open_workspace(settings()), division.stage
    if divided.outputs.refusal:
        return division
    try:
        head = space.acts.head()
        acts = {"acts": head} if head != GENESIS else {}
        acts |= {"approved": approved} if approved else {}
        posting = posting_of(divided, config, division.source, acts)
        evidence = division_evidence(space, divided, division.source, payees)
        statement = space.ledger.post(
            divided.inputs.pool,
            replace(posting, evidence=evidence),
            period=divided.inputs.period,
            brought=divided.inputs.brought,
            corrections=config.corrections,
            replace=replace_paid,
        )
    except (OthersPool, TakesBack) as conflict:  # recorded as a refusal: the flow goes on, and the report shows it
        table = load_table(space, divided.inputs.table)
        return replace(division, stage=replace(divided, outputs=refused(space.artifacts, table, config, str(conflict))))
    return replace(division, statement=statement)


@task(name="release held money", cache_policy=NO_CACHE)
def release_held(
    pool_name: str,
    config: PayoutConfig,
    contributors: Sequence[str],
    *,
    payees: Mapping[str, Payee] | None = None,
    approved: str | None = None,
) -> str:
    """Pay the amounts that a pool holds for contributors; returns the id of the statement.

    Args:
        approved: hash of the act by which a second person approved it.
    """
    space = open_workspace(settings())
    evidence = {"payees": store_payees(space, payees, contributors)}
    rates = {
        name: Fraction(own["withholding"])
        for name, own in personal_of(config, payees, contributors).items()
        if "withholding" in own
    }
    return space.ledger.release(
        pool_name,
        contributors,
        period=config.period or "",
        withholding=rates,
        evidence=evidence,
        approved=approved,
    )


def is_current(paid: Paid) -> bool:
    """Whether the present code would give this division the same key."""
    return PAY.key(paid.inputs, MODULES) == paid.key


def _inputs(
    space: Workspace,
    credit: Credited | Used,
    table: pd.DataFrame,
    config: PayoutConfig,
    pool_name: str,
    payees: Mapping[str, Payee] | None,
    source: str | None,
) -> PayInputs:
    currencies = config.currency, *(config.conversion.rates if config.conversion is not None else ())
    diagnostics, period, names = credit.outputs.diagnostics, config.period or "", people(table["contributor"])
    valuation = credit.outputs.table
    departed = space.ledger.departed(
        pool_name, config.currency, names, period=period, source=source, valuation=valuation
    )
    names += departed
    return PayInputs(
        table=valuation,
        failed=_failed(credit),
        config=config.model_dump(mode="json", exclude=UNNAMED | _unused(config)),
        pool=pool_name,
        period=period,
        unpayable=sorted(unpayable(payees, names, *currencies)),
        confusable=sorted(chain.from_iterable(confusable(payees, names))),
        brought=space.ledger.accounts(pool_name, config.currency, names, period=period),
        efficiency_gap=diagnostics["efficiency_gap"],
        marginal_error=diagnostics.get("marginal_error", 0.0),
        needed=_needed(credit, table, config.limits.stderr),
        withheld=_withheld(credit, config),
        before=credit_before(space.ledger, pool_name, valuation, period=period) if config.hysteresis else None,
        **_of_people(space, pool_name, config, valuation, names, payees),
    )


def _similar_pools(space: Workspace, pool: str, period: str) -> list[str]:
    """Pools of the ledger that cannot be told from this one by eye, which may be paid twice under two names."""
    known = {" ".join(filter(None, (posted.pool, posted.period))) for posted in space.ledger.statements()}
    own = " ".join(filter(None, (pool, period)))
    return [
        f"the pool {own} looks like {other}, which was paid before, and is another one ({own!a}, {other!a}); if they "
        "are meant to be one, correct the name"
        for other in sorted(known - {own})
        if look_the_same(own, other)
    ]


def _unused(config: PayoutConfig) -> set[str]:
    """Settings that terms of earlier versions lack; without them, terms that they do not change stay equal."""
    equal = set() if config.equal_share else {"equal_share", "equal_by"}
    return equal | ({"use"} if config.use is None else set())


def _failed(credit: Credited | Used) -> list[int]:
    """Number of coalitions whose training failed, and of all models."""
    outputs = credit.outputs
    return [outputs.failed if isinstance(outputs, UseOutputs) else len(outputs.failed), outputs.trained]


def _withheld(credit: Credited | Used, config: PayoutConfig) -> int:
    """Minor units that the terms of use keep."""
    return int(Fraction(credit.outputs.kept) * config.minor_units) if isinstance(credit.outputs, UseOutputs) else 0


def _of_people(
    space: Workspace,
    pool: str,
    config: PayoutConfig,
    valuation: str,
    names: Sequence[str],
    payees: Mapping[str, Payee] | None,
) -> dict[str, Any]:
    """Holds, personal terms and conversions; a pool that was divided by this valuation has those of then.

    So repeating a payout changes nothing, whatever cases were opened, and whatever payees changed since.
    """
    posted = space.ledger.terms(pool, valuation, period=config.period or "")
    if posted is not None:
        return {part: posted.get(part, {}) for part in ("holds", "personal", "converted")}
    return {
        "holds": holds_of(space, config, names, payees),
        "personal": personal_of(config, payees, names),
        "converted": converted_of(config, payees, names),
    }


def _needed(credit: Credited | Used, table: pd.DataFrame, limit: float | None) -> int | None:
    """Coalitions with which the standard error is expected to meet its limit; None without a limit, or if unknown."""
    stderr = relative_stderr(table["credit"].to_numpy(float), table["stderr"].to_numpy(float))
    if not limit or stderr <= limit or isinstance(credit.outputs, UseOutputs):
        return None
    return credit.outputs.certainty.needed_for(limit / stderr)


def posting_of(
    divided: Paid, config: PayoutConfig, source: str | None, more: Mapping[str, Any] | None = None
) -> Posting:
    """The posting of a division.

    Args:
        more: terms besides those of the division.
    """
    settlements = divided.outputs.settlements
    standard = PayoutConfig()
    rules = {name for name in RULES if getattr(config, name) != getattr(standard, name)}
    stated = config.model_dump(mode="json", include=rules)
    return Posting(
        valuation=divided.inputs.table,
        currency=config.currency,
        amounts={name: row.amount for name, row in settlements.items()},
        held={name: row.held for name, row in settlements.items() if row.held},
        withheld={name: row.withheld for name, row in settlements.items() if row.withheld},
        accounts={name: row.account for name, row in settlements.items() if row.account},
        reserve=divided.outputs.reserve,
        claims=sum(row.claims for row in settlements.values()),
        pool=config.minor_units,
        source=source,
        terms={**posted_terms(divided), **stated, **(more or {})},
    )

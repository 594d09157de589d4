"""Divide a pool by credit, and post it to the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.ledger.postings import OthersPool, Posting
from royalty.infra.pages.cells import csv_bytes
from royalty.infra.settings import settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.division import Division, divide_pool
from royalty.models.payout.gates import GATES, breaches, measure_gates
from royalty.models.payout.payees import Payee, shared_accounts, unpayable
from royalty.models.payout.policies import Credit
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.stages.stage import run_stage

UNNAMED = {"name", "period", "payees", "debtor"}
"""Settings that do not change how a pool is divided."""
MODULES = (__name__, "royalty.models.payout.division", "royalty.models.payout.gates")
"""Whose code the stage runs."""


@task(cache_policy=NO_CACHE)
def pay(
    credit: StageRecord,
    config: PayoutConfig,
    pool_name: str,
    *,
    payees: Mapping[str, Payee] | None = None,
    source: str | None = None,
    replace_other_runs: bool = False,
    post: bool = True,
) -> StageRecord:
    """Digest of the payout table (CSV), the settlements, and the ledger's statement; or the refusal to pay.

    Args:
        payees: by contributor; who has none in the currency of the pool waits for it. None: all are paid by name.
        source: the run whose credit it is; by others' credit it pays only if `replace_other_runs`.
        post: to the ledger; otherwise the division is only shown.
    """
    space = open_workspace(settings())
    table = load_table(space, credit.outputs["table"])
    names = table["contributor"].tolist()
    brought = space.ledger.accounts(pool_name, config.currency, names, period=config.period or "")
    waiting = sorted(unpayable(payees, names, config.currency))
    inputs = {
        "table": credit.outputs["table"],
        "failed": [len(credit.outputs["failed"]), credit.outputs["trained"]],
        "config": config.model_dump(mode="json", exclude=UNNAMED),
        "pool": pool_name,
        "period": config.period or "",
        "unpayable": waiting,
        "brought": brought,
    }

    def compute(space: Workspace) -> dict[str, Any]:
        return _division(space, table, credit, config, waiting, brought)

    record = run_stage("pay", inputs=inputs, modules=MODULES, compute=compute)
    record = record.with_outputs(unpayable=waiting, shared_accounts=shared_accounts(payees, names), statement=None)
    if record.outputs["refusal"] or not post:
        return record
    try:
        statement = space.ledger.post(
            pool_name,
            _posting(record, credit.outputs["table"], config, source, inputs),
            period=config.period or "",
            brought=brought,
            replace_other_runs=replace_other_runs,
        )
    except OthersPool as refused:  # what else the flow does needs no money
        return record.with_outputs(**_refused(space, table, config, str(refused)))
    return record.with_outputs(statement=statement)


@task(cache_policy=NO_CACHE)
def release_held(pool_name: str, config: PayoutConfig, contributors: Sequence[str]) -> str:
    """Pay what a pool holds for contributors; returns the statement."""
    ledger = open_workspace(settings()).ledger
    return ledger.release(pool_name, contributors, period=config.period or "")


def _posting(
    record: StageRecord, valuation: str, config: PayoutConfig, source: str | None, inputs: Mapping[str, Any]
) -> Posting:
    settlements = record.outputs["settlements"]
    return Posting(
        valuation=valuation,
        currency=config.currency,
        amounts={name: row["amount"] for name, row in settlements.items()},
        held={name: row["held"] for name, row in settlements.items() if row["held"]},
        accounts={name: row["account"] for name, row in settlements.items() if row["account"]},
        reserve=record.outputs["reserve"],
        claims=sum(row["claims"] for row in settlements.values()),
        pool=config.minor_units,
        source=source,
        terms={**inputs["config"], "unpayable": inputs["unpayable"]},
    )


def _division(
    space: Workspace,
    table: pd.DataFrame,
    credit: StageRecord,
    config: PayoutConfig,
    waiting: list[str],
    brought: Mapping[str, int],
) -> dict[str, Any]:
    try:
        division = _divide(table, credit, config, frozenset(waiting), brought)
    except InputError as refused:  # is shown beside the credit; whoever runs this raises it after that
        return _refused(space, table, config, str(refused))
    settlements = {name: asdict(settlement) for name, settlement in division.settlements.items()}
    rows = settled(table, config, settlements)
    return {"refusal": None, "settlements": settlements, "reserve": division.reserve, **_outputs(space, rows)}


def _refused(space: Workspace, table: pd.DataFrame, config: PayoutConfig, reason: str) -> dict[str, Any]:
    rows = table.assign(share=None, amount=None, currency=config.currency, reason=reason)
    return {"refusal": reason, "settlements": {}, "reserve": 0, **_outputs(space, rows)}


def _divide(
    table: pd.DataFrame,
    credit: StageRecord,
    config: PayoutConfig,
    waiting: frozenset[str],
    brought: Mapping[str, int],
) -> Division:
    """Divide the pool, if all gates let it pass.

    Raises:
        InputError: a gate stops it, or the terms do.
    """
    values, low, high = (table[column].to_numpy(float) for column in ("credit", "ci_low", "ci_high"))
    diagnostics = credit.outputs["diagnostics"]
    measured = measure_gates(
        values,
        low,
        high,
        efficiency_gap=diagnostics["efficiency_gap"],
        marginal_error=diagnostics.get("marginal_error", 0.0),
        failed=len(credit.outputs["failed"]),
        trained=credit.outputs["trained"],
    )
    if stopped := breaches(measured, {gate: getattr(config.limits, gate) for gate in GATES}):
        raise InputError("; ".join(breach.sentence for breach in stopped))
    credits = map(Credit, *(column.tolist() for column in (values, low, high)))
    by_name = dict(zip(table["contributor"], credits, strict=True))
    return divide_pool(config.minor_units, by_name, config.terms(waiting), brought)


def settled(table: pd.DataFrame, config: PayoutConfig, settlements: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The credit table with what becomes of each contributor's share, in the currency of the pool."""
    rows = [settlements[name] for name in table["contributor"]]

    def money(part: str) -> list[str]:
        return [f"{config.major_units(row[part]):f}" for row in rows]

    return table.assign(
        share=[row["share"] / config.minor_units if config.minor_units else 0.0 for row in rows],
        amount=money("amount"),
        currency=config.currency,
        held=money("held"),
        carried=money("carried"),
        debt=money("debt"),
        reason=["; ".join(row["reasons"]) for row in rows],
    )


def _outputs(space: Workspace, rows: pd.DataFrame) -> dict[str, Any]:
    return {"payout": space.artifacts.put(csv_bytes(rows)), "rows": rows.to_dict("records")}

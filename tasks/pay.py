"""Divide a pool by credit, and post it to the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.runstore import StageRecord
from infra.settings import settings
from infra.workspace import Workspace, open_workspace
from models.errors import InputError
from models.gates import GATES, breaches, measure_gates
from models.payout import Division, divide_pool
from models.policies import Credit
from tasks.config import PayoutConfig
from tasks.credit import load_table
from tasks.stage import run_stage


@task(cache_policy=NO_CACHE)
def pay(credit: StageRecord, config: PayoutConfig, pool_name: str) -> StageRecord:
    """Digest of the payout table (CSV), the settlements, and the ledger's statement; or the refusal to pay."""
    space = open_workspace(settings())
    table = load_table(space, credit.outputs["table"])
    brought = space.ledger.accounts(pool_name, config.currency, table["contributor"].tolist())
    inputs = {
        "table": credit.outputs["table"],
        "failed": [len(credit.outputs["failed"]), credit.outputs["trained"]],
        "config": config.model_dump(mode="json", exclude={"name"}),
        "pool": pool_name,
        "brought": brought,
    }

    def compute(space: Workspace) -> dict[str, Any]:
        try:
            division = _divide(table, credit, config, brought)
        except InputError as refused:  # is shown beside the credit; whoever runs this raises it after that
            rows = table.assign(share=None, amount=None, currency=config.currency, reason=str(refused))
            return {"refusal": str(refused), "settlements": {}, "reserve": 0, **_outputs(space, rows)}
        settlements = {name: asdict(settlement) for name, settlement in division.settlements.items()}
        rows = _settled(table, config, settlements)
        return {"refusal": None, "settlements": settlements, "reserve": division.reserve, **_outputs(space, rows)}

    modules = (__name__, "models.payout", "models.gates")
    record = run_stage("pay", inputs=inputs, modules=modules, compute=compute)
    if record.outputs["refusal"]:
        return record.with_outputs(statement=None)
    settlements = record.outputs["settlements"]
    statement = space.ledger.post(
        pool=pool_name,
        valuation=credit.outputs["table"],
        currency=config.currency,
        amounts={name: row["amount"] for name, row in settlements.items()},
        held={name: row["held"] for name, row in settlements.items() if row["held"]},
        accounts={name: row["account"] for name, row in settlements.items() if row["account"]},
        brought=brought,
    )
    return record.with_outputs(statement=statement)


def _divide(table: pd.DataFrame, credit: StageRecord, config: PayoutConfig, brought: Mapping[str, int]) -> Division:
    """Divide the pool, if all gates let it pass.

    Raises:
        InputError: a gate stops it, or the terms do.
    """
    values, low, high = (table[column].to_numpy(float) for column in ("credit", "ci_low", "ci_high"))
    measured = measure_gates(
        values,
        low,
        high,
        efficiency_gap=credit.outputs["diagnostics"]["efficiency_gap"],
        failed=len(credit.outputs["failed"]),
        trained=credit.outputs["trained"],
    )
    if stopped := breaches(measured, {gate: getattr(config.limits, gate) for gate in GATES}):
        raise InputError("; ".join(breach.sentence for breach in stopped))
    credits = map(Credit, *(column.tolist() for column in (values, low, high)))
    return divide_pool(config.minor_units, dict(zip(table["contributor"], credits, strict=True)), config.terms, brought)


def _settled(table: pd.DataFrame, config: PayoutConfig, settlements: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
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
    return {"payout": space.artifacts.put(rows.to_csv(index=False).encode()), "rows": rows.to_dict("records")}

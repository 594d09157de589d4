"""Divide a pool by credit, and post it to the ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.runstore import StageRecord
from infra.settings import settings
from infra.workspace import Workspace, open_workspace
from models.payout import divide_pool
from tasks.config import PayoutConfig
from tasks.credit import load_table
from tasks.stage import run_stage


@task(cache_policy=NO_CACHE)
def pay(credit: StageRecord, config: PayoutConfig, pool_name: str) -> StageRecord:
    """Digest of the payout table (CSV), the amounts, and the id of the ledger's statement."""
    inputs = {
        "table": credit.outputs["table"],
        "config": config.model_dump(mode="json", exclude={"name"}),
        "pool": pool_name,
    }

    def compute(space: Workspace) -> dict[str, Any]:
        table = load_table(space, credit.outputs["table"])
        amounts = divide_pool(config.minor_units, dict(zip(table["contributor"], table["credit"], strict=True)))
        minor = table["contributor"].map(amounts)
        table["share"] = minor / config.minor_units if config.minor_units else 0.0
        table["amount"] = [f"{Decimal(int(value)).scaleb(-config.digits):f}" for value in minor]
        table["currency"] = config.currency
        return {
            "payout": space.artifacts.put(table.to_csv(index=False).encode()),
            "amounts": amounts,
            "rows": table.to_dict("records"),
        }

    record = run_stage("pay", inputs=inputs, modules=(__name__, "models.payout"), compute=compute)
    statement = open_workspace(settings()).ledger.post(
        pool=pool_name,
        valuation=credit.outputs["table"],
        currency=config.currency,
        amounts=record.outputs["amounts"],
    )
    return record.with_outputs(statement=statement)

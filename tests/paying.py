"""A home in which a run has come to credit, whose payouts run as functions, without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect import Task

import royalty.flows.payout
import royalty.flows.use
from royalty.flows.payout import PayoutResult
from royalty.infra.settings import settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.tasks.config.credit import CreditEstimateConfig, StoppingConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import CREDIT, CreditInputs, CreditOutputs
from royalty.tasks.stages.stage import as_json
from tests.in_process import forget_homes
from tests.tracing import CERTAINTY


@contextmanager
def paying_home(folder: Path) -> Iterator[Workspace]:
    """A home of this process, in which tasks of payouts are functions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROYALTY_HOME", str(folder))
        forget_homes()
        for module in (royalty.flows.payout, royalty.flows.use):
            for name, known in vars(module).copy().items():
                if isinstance(known, Task):
                    patch.setattr(module, name, known.fn)
        yield open_workspace(settings())
    forget_homes()


def credited(space: Workspace, run: str, credit: Mapping[str, float], terms: Mapping[str, Any] | None = None) -> str:
    """Record credit of a run, with intervals so narrow that all are told apart; return the digest of its table."""
    values = dict(sorted(credit.items(), key=lambda pair: (-pair[1], pair[0])))
    columns = {"contributor": list(values), "items": 3, "credit": list(values.values()), "stderr": 1e-6}
    table = pd.DataFrame(columns)
    table = table.assign(ci_low=table["credit"] - 1e-6, ci_high=table["credit"] + 1e-6)
    outputs = CreditOutputs(
        table=space.artifacts.put(table.to_parquet(index=False)),
        null_utility=0.0,
        grand_utility=sum(values.values()),
        failed=[],
        trained=8,
        diagnostics={"efficiency_gap": 0.0},
        certainty=CERTAINTY,
    )
    key = f"credit of {run} {outputs.table[:8]}"
    inputs = CreditInputs(CreditEstimateConfig(), StoppingConfig(), [], failed=digest_of([]), seed=0)
    if space.runs.stage(key) is None:
        space.runs.record_stage(StageRecord(CREDIT.name, key, as_json(inputs), as_json(outputs), 0.0))
    space.runs.claim_name(run, {"data": {"source": "digits"}, "payout": dict(terms or {})})
    space.ledger.record_credit(run, key, outputs.table)
    return outputs.table


def pay(run: str, terms: Mapping[str, Any], **more: Any) -> PayoutResult:
    """Pay a pool by proportional credit."""
    config = PayoutConfig.model_validate({"policy": "proportional", "limits": {"stderr": None}, **terms})
    return royalty.flows.payout.payout.fn(run, config, **more)

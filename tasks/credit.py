"""Estimate Shapley credit from the measured coalitions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.runstore import StageRecord
from infra.workspace import Workspace
from models.valuation.shapley import estimate_shapley
from tasks.config import CreditEstimateConfig
from tasks.plan import CoalitionPlan
from tasks.stage import run_stage


@task(cache_policy=NO_CACHE)
def estimate_credit(
    data: StageRecord, plans: Sequence[CoalitionPlan], config: CreditEstimateConfig, seed: int
) -> StageRecord:
    """Digest of the credit table (Parquet), highest credit first, and the diagnostics of the estimate."""
    keys = [plan.key for plan in plans]
    inputs = {"config": config.model_dump(), "coalitions": keys, "seed": seed}

    def compute(space: Workspace) -> dict[str, Any]:
        rows = space.runs.coalitions(keys)
        names = data.outputs["contributors"]
        masks = np.array([[name in plan.members for name in names] for plan in plans])
        utilities = np.array([rows[key].utility for key in keys])
        estimate = estimate_shapley(
            masks[:-2],
            utilities[:-2],
            utilities[-2],
            utilities[-1],
            ridge=config.ridge,
            confidence=config.confidence,
            n_bootstrap=config.bootstrap,
            seed=seed,
        )
        columns = {
            "contributor": names,
            "items": [data.outputs["items"][name] for name in names],
            "credit": estimate.values,
            "stderr": estimate.stderr,
            "ci_low": estimate.ci_low,
            "ci_high": estimate.ci_high,
        }
        table = pd.DataFrame(columns).sort_values(["credit", "contributor"], ascending=[False, True])
        return {
            "table": space.artifacts.put(table.to_parquet(index=False)),
            "null_utility": float(utilities[-2]),
            "grand_utility": float(utilities[-1]),
            "evaluations": estimate.n_evaluations,
            "diagnostics": estimate.diagnostics,
        }

    return run_stage("credit", inputs=inputs, modules=(__name__, "models.valuation.shapley"), compute=compute)


def load_table(space: Workspace, digest: str) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(space.artifacts.get(digest)))

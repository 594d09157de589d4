"""Publish the results of an evaluation of credit: tables and a plot, on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.workspace import Workspace
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.judge.scores import BIT, CHANCE, OURS, RETRAINED
from royalty.tasks.judge.stages import Compared, JudgementKind, Scored
from royalty.tasks.stages.publishing import Contents, Published, PublishInputs, PublishOutputs, PublishStage, publish
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.task import task

CONTROLS = (BIT, CHANCE, RETRAINED)
"""Rows that are no method's."""

WRITE_LDS = PublishStage("write-lds", PublishInputs, PublishOutputs)
WRITE_COUNTERFACTUAL = PublishStage("write-counterfactual", PublishInputs, PublishOutputs)


@task(name="write LDS", cache_policy=NO_CACHE)
def write_lds(config: CreditConfig, scored: Scored) -> Published:
    """Publish `lds.csv`, `lds-leads.csv` with the paired comparisons, and `lds.png`."""
    rows, leads = scored.outputs.rows, scored.outputs.leads

    def make(_space: Workspace) -> Contents:
        return Contents(
            note=_note(config, "lds"),
            tables={"lds": pd.DataFrame(rows)} | ({"lds-leads": pd.DataFrame(leads)} if leads else {}),
            files={"lds.png": _plot(config.name, rows)},
        )

    return publish(WRITE_LDS, _inputs(config, "lds", scored.key), make)


@task(name="write counterfactuals", cache_policy=NO_CACHE)
def write_counterfactual(config: CreditConfig, compared: Compared) -> Published:
    """Publish `counterfactual.csv`."""

    def make(_space: Workspace) -> Contents:
        table = pd.DataFrame(compared.outputs.rows)
        return Contents(note=_note(config, "counterfactual"), tables={"counterfactual": table})

    return publish(WRITE_COUNTERFACTUAL, _inputs(config, "counterfactual", compared.key), make)


def _inputs(config: CreditConfig, kind: JudgementKind, key: str) -> PublishInputs:
    """Inputs of the publishing stage.

    Args:
        key: key of the stage that computed the results.
    """
    return PublishInputs(config.name, f"{config.name}-{kind}", {kind: key}, params_of(config))


def params_of(config: CreditConfig) -> dict[str, Any]:
    """The settings of an evaluation that MLflow shows."""
    return {"name": config.name, **config.evaluation.model_dump(mode="json")}


def _note(config: CreditConfig, kind: JudgementKind) -> str:
    return f"Evaluation ({kind}) of credit, run {config.name!r}, by models retrained on coalitions."


def _plot(name: str, rows: Sequence[TableRow]) -> bytes:
    """Plot LDS against compute at the alpha nearest to one half; returns a PNG."""
    from royalty.infra.pages.plots import score_against_compute  # matplotlib takes a second to import

    alpha = min(sorted({row["alpha"] for row in rows}), key=lambda alpha: abs(alpha - 0.5))
    curves: dict[str, list[tuple[float, float, float, float]]] = {}
    others: dict[str, float] = {}
    for row in rows:
        if row["alpha"] != alpha or row.get("among", "all") != "all" or row["method"] in CONTROLS:
            continue
        if row["method"].startswith(OURS):
            point = (row["seconds"], row["lds"], row["low"], row["high"])
            curves.setdefault(row["method"].removeprefix("Shapley, "), []).append(point)
        else:
            others[row["method"]] = row["lds"]
    best = max(others.items(), key=lambda method: method[1]) if others else None
    return score_against_compute(f"{name}: LDS at alpha {alpha:g} against compute", curves, best)

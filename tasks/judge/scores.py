"""Judge credit by retrained models: linear datamodeling score (LDS) and counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.judging.datamodeling import datamodeling_score, relative_change
from royalty.models.valuation.coalitions import masks_of
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.judge.credits import JudgedCredit
from royalty.tasks.judge.held_out import EVERYBODY
from royalty.tasks.judge.stages import (
    COUNTERFACTUAL,
    LDS,
    Compared,
    CounterfactualInputs,
    CounterfactualOutputs,
    LdsInputs,
    LdsOutputs,
    Scored,
)
from royalty.tasks.judge.utilities import SeededUtilities, seeded_utilities
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import TableRow


@task(name="score credit (LDS)", cache_policy=NO_CACHE)
def score(
    data: Ingested,
    chosen: Mapping[float, Sequence[Members]],
    plans: Sequence[CoalitionPlan],
    credits: Sequence[JudgedCredit],
) -> Scored:
    """Compute the LDS of each credit on the trained held-out coalitions, by alpha.

    Args:
        chosen: held-out coalitions by alpha.
        plans: plans of these coalitions.
    """
    utilities = seeded_utilities(open_workspace(settings()), plans)
    trained = list(dict.fromkeys(plan.members for plan in plans if plan.key in utilities.trained))
    inputs = LdsInputs(
        credits=[(credit.method, credit.coalitions, credit.of(trained).tolist()) for credit in credits],
        held_out=_measurements(plans, utilities),
        nulls=[credit.null for credit in credits],
        alphas=list(chosen),
    )

    def compute(space: Workspace) -> LdsOutputs:
        names = data.outputs.contributors
        rows = [
            row
            for alpha, coalitions in chosen.items()
            for row in _datamodeling_rows(names, alpha, coalitions, utilities, credits)
        ]
        return LdsOutputs(space.artifacts.put(pd.DataFrame(rows).to_parquet(index=False)), rows)

    return run_here(LDS, inputs, compute)


@task(name="compare utilities", cache_policy=NO_CACHE)
def compare_utilities(coalitions: Mapping[tuple[str, str], Members], plans: Sequence[CoalitionPlan]) -> Compared:
    """Compute the relative change of the utility by each counterfactual, as mean and range over training seeds.

    Args:
        coalitions: members by method and change; `EVERYBODY` is among them.
    """
    utilities = seeded_utilities(open_workspace(settings()), plans)
    inputs = CounterfactualInputs(
        asked=[(method, change, list(members)) for (method, change), members in coalitions.items()],
        held_out=_measurements(plans, utilities),
    )

    def compute(_space: Workspace) -> CounterfactualOutputs:
        return CounterfactualOutputs(_change_rows(coalitions, utilities))

    return run_here(COUNTERFACTUAL, inputs, compute)


def _measurements(plans: Sequence[CoalitionPlan], utilities: SeededUtilities) -> list[str]:
    """Keys of the measurements behind the utilities."""
    return sorted(measure.key for plan in plans for measure in plan.measures if plan.key in utilities.trained)


def _datamodeling_rows(
    names: Sequence[str],
    alpha: float,
    coalitions: Sequence[Members],
    utilities: SeededUtilities,
    credits: Sequence[JudgedCredit],
) -> list[TableRow]:
    """Rows of the LDS table for coalitions of one size, one for each credit."""
    measured, table = utilities.of(coalitions)
    masks = masks_of(measured, names)
    rows = []
    for credit in credits:
        scores = datamodeling_score(credit.of(measured), credit.null, masks, table)
        title = {"method": credit.method, "trained": credit.coalitions, "seconds": credit.seconds, "alpha": alpha}
        rows.append({**title, **asdict(scores)})
    return rows


def _change_rows(coalitions: Mapping[tuple[str, str], Members], utilities: SeededUtilities) -> list[TableRow]:
    """Rows of counterfactuals that have a training seed in common with everybody's model."""
    everybody, rows = coalitions[EVERYBODY], []
    for (method, change), members in coalitions.items():
        changes = [
            float(relative_change(of_seed[members], of_seed[everybody]))
            for of_seed in utilities.by_seed.values()
            if members in of_seed and everybody in of_seed
        ]
        if (method, change) != EVERYBODY and changes:
            mean, low, high = float(np.mean(changes)), min(changes), max(changes)
            rows.append(
                {"method": method, "done": change, "change": mean, "low": low, "high": high, "seeds": len(changes)}
            )
    return rows

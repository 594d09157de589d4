"""Estimate Shapley credit from the measured coalitions, and say how certain it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.valuation.certainty import Certainty, certainty_of
from royalty.models.valuation.coalitions import masks_of
from royalty.models.valuation.shapley import ShapleyEstimate, estimate_shapley
from royalty.tasks.config.credit import CreditConfig, CreditEstimateConfig, StoppingConfig
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class CreditInputs:
    """A measured game.

    Attributes:
        measurements: keys of their rows, in the order of the plans.
        failed: digest of the keys of coalitions whose training failed.
    """

    config: CreditEstimateConfig
    stopping: StoppingConfig
    measurements: list[str]
    failed: str
    seed: int


@dataclass(frozen=True)
class CreditOutputs:
    """Digest of the credit table (Parquet), highest credit first, and the diagnostics of the estimate.

    Attributes:
        failed: members of coalitions whose training failed.
        trained: models, nobody's and everybody's included.
    """

    table: str
    null_utility: float
    grand_utility: float
    failed: list[list[str]]
    trained: int
    diagnostics: dict[str, Any]
    certainty: Certainty


CREDIT = Stage("credit", CreditInputs, CreditOutputs)

Credited = Finished[CreditInputs, CreditOutputs]


@dataclass(frozen=True)
class MeasuredGame:
    """The measured utilities of a game, a row each.

    Attributes:
        masks: bool, `(rows, contributors)`.
        utilities, seeds, draws: `(rows,)`.
        null, grand: mean utility of nobody and of everybody.
        failed: members of coalitions whose training failed.
    """

    masks: np.ndarray
    utilities: np.ndarray
    seeds: np.ndarray
    draws: np.ndarray
    null: float
    grand: float
    failed: tuple[tuple[str, ...], ...]

    def estimate(self, config: CreditEstimateConfig, seed: int) -> ShapleyEstimate:
        return estimate_shapley(
            self.masks,
            self.utilities,
            self.null,
            self.grand,
            estimator=config.estimator,
            ridge=config.ridge,
            seeds=self.seeds,
            draws=self.draws,
            confidence=config.confidence,
            n_bootstrap=config.bootstrap,
            seed=seed,
        )


def gather(space: Workspace, names: Sequence[str], plans: Sequence[CoalitionPlan]) -> MeasuredGame:
    """Read what was measured from the run store.

    Raises:
        InputError: the model of nobody or of everybody failed to train.
    """
    models = space.runs.coalitions(plan.key for plan in plans)
    found = space.runs.measurements(measure.key for plan in plans for measure in plan.measures)
    rows: list[tuple[tuple[str, ...], float, int, int]] = []
    failed = []
    for plan in plans:
        if models[plan.key].checkpoint is None:
            failed.append(plan.members)
        else:
            rows += [(plan.members, found[measure.key].utility, plan.seed, measure.draw) for measure in plan.measures]
    ends = []
    for title, members in (("nobody", ()), ("everybody", tuple(names))):
        utilities = [utility for own, utility, _, _ in rows if own == members]
        if not utilities:
            failure = next(models[plan.key].failure for plan in plans if plan.members == members)
            raise InputError(
                f"credit is shared out of what everybody's model scores above nobody's; that of {title} failed to "
                f"train: {failure}. Lower `coalitions.learning_rate`"
            )
        ends.append(float(np.mean(utilities)))
    proper = [row for row in rows if 0 < len(row[0]) < len(names)]
    return MeasuredGame(
        masks=masks_of([members for members, _, _, _ in proper], names),
        utilities=np.array([utility for _, utility, _, _ in proper]),
        seeds=np.array([seed for _, _, seed, _ in proper]),
        draws=np.array([draw for _, _, _, draw in proper]),
        null=ends[0],
        grand=ends[1],
        failed=tuple(failed),
    )


@task(cache_policy=NO_CACHE)
def look(data: Ingested, plans: Sequence[CoalitionPlan], config: CreditConfig) -> Certainty:
    """How certain the credit is with these coalitions, and how many the target takes."""
    measured = gather(open_workspace(settings()), data.outputs.contributors, plans)
    return _certainty(measured.estimate(config.credit, config.seed), measured, config)


@task(cache_policy=NO_CACHE)
def estimate_credit(data: Ingested, plans: Sequence[CoalitionPlan], config: CreditConfig) -> Credited:
    """Digest of the credit table (Parquet), highest credit first, and the diagnostics of the estimate."""
    space = open_workspace(settings())
    rows = [measure.key for plan in plans for measure in plan.measures]
    failures = sorted(key for key, row in space.runs.coalitions(plan.key for plan in plans).items() if row.failure)
    inputs = CreditInputs(config.credit, config.stopping, rows, digest_of(failures), config.seed)

    def compute(space: Workspace) -> CreditOutputs:
        names = data.outputs.contributors
        measured = gather(space, names, plans)
        estimate = measured.estimate(config.credit, config.seed)
        columns = {
            "contributor": names,
            "items": [data.outputs.items[name] for name in names],
            "credit": estimate.values,
            "stderr": estimate.stderr,
            "ci_low": estimate.ci_low,
            "ci_high": estimate.ci_high,
        }
        table = pd.DataFrame(columns).sort_values(["credit", "contributor"], ascending=[False, True])
        return CreditOutputs(
            table=space.artifacts.put(table.to_parquet(index=False)),
            null_utility=measured.null,
            grand_utility=measured.grand,
            failed=[list(members) for members in measured.failed],
            trained=len(plans),
            diagnostics=dict(estimate.diagnostics),
            certainty=_certainty(estimate, measured, config),
        )

    return run_here(CREDIT, inputs, compute)


def is_current(credit: Credited) -> bool:
    """Whether the code as it is now would estimate this credit by itself."""
    return CREDIT.key(credit.inputs, (__name__,)) == credit.key


@task(cache_policy=NO_CACHE)
def record_credit(run: str, credit: Credited) -> None:
    """Record which credit a run came to, for whoever pays by it later."""
    open_workspace(settings()).ledger.record_credit(run, credit.key, credit.outputs.table)


@task(cache_policy=NO_CACHE)
def find_credit(wanted: str) -> tuple[str, Credited]:
    """Name of the run, and its credit, by that name or by the digest of the credit table.

    Raises:
        InputError: there is no such run here, or none that came to credit; the credit table is in another home.
    """
    space = open_workspace(settings())
    found = space.ledger.credit_of(wanted)
    if found is None:
        known = ", ".join(space.ledger.credited_runs()) or "none"
        raise InputError(
            f"a pool is divided by the credit of a run, and no run {wanted!r} has any here; those that have: {known}. "
            "`royalty run` credits"
        )
    run, key = found
    credit = CREDIT.kept(space, key)
    if credit is None or not space.artifacts.path(credit.outputs.table).exists():
        raise InputError(
            f"a pool is divided by a credit table of this home, and that of {run!r} is not in {space.root}; set "
            "ROYALTY_HOME to the home of its run"
        )
    return run, credit


def _certainty(estimate: ShapleyEstimate, measured: MeasuredGame, config: CreditConfig) -> Certainty:
    stopping = config.stopping
    return certainty_of(
        estimate,
        measured.masks,
        stderr=stopping.stderr,
        top=stopping.top,
        stability=stopping.stability,
        seed=config.seed,
    )


def load_table(space: Workspace, digest: str) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(space.artifacts.get(digest)))

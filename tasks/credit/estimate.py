"""Estimate Shapley credit and its uncertainty from the measured coalitions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.valuation.certainty import Certainty, certainty_of
from royalty.models.valuation.coalitions import masks_of
from royalty.models.valuation.game import Game, fit_game
from royalty.models.valuation.multifidelity import MultiFidelity, Utilities, multifidelity_shapley
from royalty.models.valuation.semivalue_estimates import estimate_semivalues
from royalty.models.valuation.shapley import ShapleyEstimate, estimate_shapley
from royalty.models.valuation.sure_pairs import SurePairs, find_sure_pairs
from royalty.tasks.config.credit import CreditConfig, CreditEstimateConfig, StoppingConfig
from royalty.tasks.credit.grouping import Grouped, MemberParts, representatives
from royalty.tasks.credit.image_sets import MeasuredSets, gather_sets
from royalty.tasks.credit.pairs import untold_pairs
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import Finished, Stage
from royalty.tasks.stages.task import task


@dataclass(frozen=True)
class CreditInputs:
    """The measurements that credit is estimated from, and the settings of the estimator.

    Attributes:
        measurements: keys of the measurement rows, in the order of the plans.
        failed: digest of the keys of coalitions whose training failed.
        retrained: keys of the measurements of retrained models, by which credit is corrected.
        scaled: whether cheap utilities are scaled first.
        groups: key of the groups that coalitions consist of; empty: coalitions are of contributors.
        match: key of the values by which the credit of groups is divided; empty likewise.
    """

    config: CreditEstimateConfig
    stopping: StoppingConfig
    measurements: list[str]
    failed: str
    seed: int
    # Rows of earlier versions lack these.
    retrained: list[str] = field(default_factory=list)
    scaled: bool = False
    groups: str = ""
    match: str = ""


@dataclass(frozen=True)
class CreditOutputs:
    """Digest of the credit table (Parquet), highest credit first, and the diagnostics of the estimate.

    Attributes:
        failed: members of coalitions whose training failed.
        trained: number of models, including those of the null and the grand coalition.
        interactions: pairs of contributors who are surely substitutes or complements, by the models of `measurements`;
            None in records of earlier versions.
        null_utility, grand_utility: of the game that is credited: of retrained models, if these correct the credit.
        measured_ends: utilities of nobody and everybody by the models of `measurements`, if they differ from those.
    """

    table: str
    null_utility: float
    grand_utility: float
    failed: list[list[str]]
    trained: int
    diagnostics: dict[str, Any]
    certainty: Certainty
    interactions: SurePairs | None = None
    measured_ends: tuple[float, float] | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Utilities of nobody and everybody in the game of the measurements."""
        return self.measured_ends or (self.null_utility, self.grand_utility)


CREDIT = Stage("credit", CreditInputs, CreditOutputs)

Credited = Finished[CreditInputs, CreditOutputs]


@dataclass(frozen=True)
class MeasuredGame:
    """Measured utilities, one row for each measurement of a coalition.

    The null and the grand coalition have no rows; only their means are kept.

    Attributes:
        masks: members of each coalition; bool, `(rows, contributors)`.
        utilities, seeds, draws: utility, training seed and sampling seed; `(rows,)`.
        null, grand: mean utility of the null and of the grand coalition.
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
        if config.value != "shapley":
            alpha, beta = config.beta
            return estimate_semivalues(
                self.masks,
                self.utilities,
                self.null,
                self.grand,
                value=config.value,
                alpha=alpha,
                beta=beta,
                seeds=self.seeds,
                draws=self.draws,
                confidence=config.confidence,
                seed=seed,
            )
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

    def at_fidelity(self) -> Utilities:
        """Mean utilities of distinct coalitions."""
        cells, cell = np.unique(self.masks, axis=0, return_inverse=True)
        position = cell.reshape(-1)
        return Utilities(cells, np.bincount(position, self.utilities) / np.bincount(position), self.null, self.grand)

    def corrected_by(self, retrained: MeasuredGame, config: CreditConfig) -> MultiFidelity:
        """Shapley values of the retrained game, with these cheap utilities as a control variate."""
        cheap, few = self.at_fidelity(), retrained.at_fidelity()
        known = {mask.tobytes() for mask in cheap.masks}  # a cheap training may have failed
        both = np.array([mask.tobytes() in known for mask in few.masks], dtype=bool)
        return multifidelity_shapley(
            cheap,
            replace(few, masks=few.masks[both], values=few.values[both]),
            scaled=config.fidelity.scaled,
            confidence=config.credit.confidence,
            seed=config.seed,
        )

    def scaled(self, slope: float) -> MeasuredGame:
        """The same game with utilities that are multiplied by a slope."""
        return replace(self, utilities=slope * self.utilities, null=slope * self.null, grand=slope * self.grand)

    def game(self, config: CreditEstimateConfig, seed: int) -> Game:
        return fit_game(
            self.masks,
            self.utilities,
            self.null,
            self.grand,
            seed=seed,
            seeds=self.seeds,
            draws=self.draws,
            confidence=config.confidence,
        )

    def interactions(self, names: Sequence[str], config: CreditEstimateConfig, seed: int) -> SurePairs:
        return find_sure_pairs(
            self.masks,
            self.utilities,
            self.null,
            self.grand,
            names,
            seeds=self.seeds,
            draws=self.draws,
            confidence=config.confidence,
            seed=seed,
        )


def gather(
    space: Workspace, names: Sequence[str], plans: Sequence[CoalitionPlan], grouped: Grouped | None = None
) -> MeasuredGame:
    """Read the measurements of these plans from the run store.

    Args:
        grouped: the groups that coalitions consist of, which are then the columns of the masks.

    Raises:
        InputError: the training of the null or the grand coalition failed.
    """
    models = space.runs.coalitions(plan.key for plan in plans)
    measurements = space.runs.measurements(measure.key for plan in plans for measure in plan.measures)
    rows: list[tuple[tuple[str, ...], float, int, int]] = []
    failed = []
    for plan in plans:
        if models[plan.key].checkpoint is None:
            failed.append(plan.members)
        else:
            rows += [
                (plan.members, measurements[measure.key].utility, plan.seed, measure.draw) for measure in plan.measures
            ]
    ends = []
    for title, members in (("nobody", ()), ("everybody", tuple(names))):
        utilities = [utility for coalition, utility, _, _ in rows if coalition == members]
        if not utilities:
            failure = next(models[plan.key].failure for plan in plans if plan.members == members)
            raise InputError(
                f"credit divides the difference between the utilities of everybody's and nobody's model; "
                f"that of {title} failed to train: {failure}. Lower `coalitions.learning_rate`"
            )
        ends.append(float(np.mean(utilities)))
    proper = [row for row in rows if 0 < len(row[0]) < len(names)]
    return MeasuredGame(
        masks=masks_of([members for members, _, _, _ in proper], representatives(names, grouped)),
        utilities=np.array([utility for _, utility, _, _ in proper]),
        seeds=np.array([seed for _, _, seed, _ in proper]),
        draws=np.array([draw for _, _, _, draw in proper]),
        null=ends[0],
        grand=ends[1],
        failed=tuple(failed),
    )


def _measured(
    space: Workspace,
    data: Ingested,
    plans: Sequence[CoalitionPlan],
    config: CreditConfig,
    grouped: Grouped | None,
) -> MeasuredGame | MeasuredSets:
    """The measured game, of contributors, groups of them, or images."""
    whole = gather(space, data.outputs.players, [plan for plan in plans if plan.drawn is None], grouped)
    if config.coalitions.units == "contributors":
        return whole
    return gather_sets(space, data, plans, (whole.null, whole.grand))


@task(name="estimate precision", cache_policy=NO_CACHE)
def look(
    data: Ingested, plans: Sequence[CoalitionPlan], config: CreditConfig, grouped: Grouped | None = None
) -> Certainty:
    """Estimate how certain the credit is with these coalitions, and how many coalitions the target needs."""
    measured = _measured(open_workspace(settings()), data, plans, config, grouped)
    return _certainty(measured.estimate(config.credit, config.seed), measured, config)


@task(name="estimate credit", cache_policy=NO_CACHE)
def estimate_credit(
    data: Ingested,
    plans: Sequence[CoalitionPlan],
    config: CreditConfig,
    retrained: Sequence[CoalitionPlan] = (),
    divided: MemberParts | None = None,
) -> Credited:
    """Estimate credit, and store the credit table (Parquet), highest credit first.

    Args:
        retrained: plans of models that are retrained in full, everybody's and nobody's among them, which correct it.
        divided: the groups that coalitions consist of, and by what their credit is divided among members.
    """
    grouped = divided.grouped if divided else None
    space = open_workspace(settings())
    rows = [measure.key for plan in plans for measure in plan.measures]
    failures = sorted(key for key, row in space.runs.coalitions(plan.key for plan in plans).items() if row.failure)
    corrections = [measure.key for plan in retrained for measure in plan.measures]
    inputs = CreditInputs(
        config.credit,
        config.stopping,
        rows,
        digest_of(failures),
        config.seed,
        corrections,
        config.fidelity.scaled,
        groups=divided.grouped.key if divided else "",
        match=divided.match if divided else "",
    )

    def compute(space: Workspace) -> CreditOutputs:
        names = data.outputs.players
        measured = credited = paired = _measured(space, data, plans, config, grouped)
        pairs = untold_pairs(config)
        if isinstance(measured, MeasuredGame) and retrained:
            credited = gather(space, names, retrained, grouped)
            corrected = measured.corrected_by(credited, config)
            of_players, paired = corrected.corrected, measured.scaled(corrected.slope)
        else:
            of_players = measured.estimate(config.credit, config.seed)
        if pairs is None and isinstance(paired, MeasuredGame):
            pairs = paired.interactions(names, config.credit, config.seed)
        estimate = divided.divide(of_players, names) if divided else of_players
        columns = {
            "contributor": names,
            "items": [data.outputs.items[name] for name in names],
            "credit": estimate.values,
            "stderr": estimate.stderr,
            "ci_low": estimate.ci_low,
            "ci_high": estimate.ci_high,
            **(divided.column(names) if divided else {}),
        }
        table = pd.DataFrame(columns).sort_values(["credit", "contributor"], ascending=[False, True])
        return CreditOutputs(
            table=space.artifacts.put(table.to_parquet(index=False)),
            null_utility=credited.null,
            grand_utility=credited.grand,
            failed=[list(members) for members in measured.failed],
            trained=len(plans),
            diagnostics=dict(estimate.diagnostics),
            certainty=_certainty(of_players, measured, config),
            interactions=pairs,
            measured_ends=(measured.null, measured.grand) if retrained else None,
        )

    return run_here(CREDIT, inputs, compute)


def is_current(credit: Credited) -> bool:
    """Whether the present code would give this credit the same key."""
    return CREDIT.key(credit.inputs, (__name__,)) == credit.key


@task(name="record credit", cache_policy=NO_CACHE)
def record_credit(run: str, credit: Credited) -> None:
    """Record the credit of a run, so that a later payout can find it."""
    open_workspace(settings()).ledger.record_credit(run, credit.key, credit.outputs.table)


def credited_contributors(space: Workspace) -> set[str]:
    """Everybody in the latest credit table of any run, as far as these tables are in this home."""
    names: set[str] = set()
    for run in space.ledger.credited_runs():
        stage = space.ledger.credit_of(run)
        credit = CREDIT.kept(space, stage[1]) if stage is not None else None
        if credit is not None and space.artifacts.holds(credit.outputs.table):
            names |= set(load_table(space, credit.outputs.table)["contributor"])
    return names


@task(name="find credit", cache_policy=NO_CACHE)
def find_credit(run_or_table: str) -> tuple[str, Credited]:
    """Find a run and its credit, by the name of the run or the digest of the credit table.

    Raises:
        InputError: there is no such run here, it has no credit, or its credit table is in another home.
    """
    space = open_workspace(settings())
    credited = space.ledger.credit_of(run_or_table)
    if credited is None:
        known = ", ".join(space.ledger.credited_runs()) or "none"
        raise InputError(
            f"a pool is divided by the credit of a run, and no run {run_or_table!r} has credit here. Runs with credit: "
            f"{known}. Use one of them, or run `royalty run` first"
        )
    run, key = credited
    credit = CREDIT.kept(space, key)
    if credit is None or not space.artifacts.holds(credit.outputs.table):
        raise InputError(
            f"a pool is divided by a credit table of this home, and the table of {run!r} is not in {space.root}. Set "
            "ROYALTY_HOME to the home of that run"
        )
    return run, credit


def _certainty(estimate: ShapleyEstimate, measured: MeasuredGame | MeasuredSets, config: CreditConfig) -> Certainty:
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
    """Load a stored Parquet table by its digest."""
    return pd.read_parquet(io.BytesIO(space.artifacts.get(digest)))

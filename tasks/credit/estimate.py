"""Estimate Shapley credit and its uncertainty from the measured coalitions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.valuation.certainty import Certainty, certainty_of
from royalty.models.valuation.pipelines import combine_pipelines
from royalty.models.valuation.shapley import ShapleyEstimate
from royalty.models.valuation.sure_pairs import SurePairs
from royalty.tasks.config.credit import CreditConfig, CreditEstimateConfig, StoppingConfig
from royalty.tasks.config.pipelines import pipeline_seed
from royalty.tasks.credit.grouping import Grouped, MemberParts
from royalty.tasks.credit.image_sets import MeasuredSets, gather_sets
from royalty.tasks.credit.measured import MeasuredGame, gather
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
        pipelines: number of measurements of each pipeline, in the order of `measurements`; empty: there is one.
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
    pipelines: list[int] = field(default_factory=list)

    @property
    def of_one_game(self) -> list[str]:
        """Keys of the measurements of the first pipeline, or the only one."""
        return self.measurements[: self.pipelines[0]] if self.pipelines else self.measurements


@dataclass(frozen=True)
class CreditOutputs:
    """Digest of the credit table (Parquet), highest credit first, and the diagnostics of the estimate.

    Attributes:
        failed: members of coalitions whose training failed.
        trained: number of models, including those of the null and the grand coalition.
        interactions: pairs of contributors who are surely substitutes or complements, by the models of `measurements`;
            none are named over several pipelines; None in records of earlier versions.
        null_utility, grand_utility: of the game that is credited: of retrained models, if these correct the credit, and
            means over pipelines.
        measured_ends: utilities of nobody and everybody by the models of `measurements`, of the first pipeline of
            several, if they differ from those.
        pipelines: digest of the table of the credit in each pipeline; empty for one.
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
    pipelines: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Utilities of nobody and everybody in the game of the measurements."""
        return self.measured_ends or (self.null_utility, self.grand_utility)


CREDIT = Stage("credit", CreditInputs, CreditOutputs)

Credited = Finished[CreditInputs, CreditOutputs]


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
    return _certainty(measured.estimate(config.credit, config.seed), measured.masks, config)


@task(name="estimate credit", cache_policy=NO_CACHE)
def estimate_credit(
    data: Ingested,
    plans: Sequence[CoalitionPlan],
    config: CreditConfig,
    retrained: Sequence[CoalitionPlan] = (),
    divided: MemberParts | None = None,
    further: Sequence[Sequence[CoalitionPlan]] = (),
) -> Credited:
    """Estimate credit, and store the credit table (Parquet), highest credit first.

    Args:
        retrained: plans of models that are retrained in full, everybody's and nobody's among them, which correct it.
        divided: the groups that coalitions consist of, and by what their credit is divided among members.
        further: plans of each pipeline after the first, whose are `plans`.
    """
    grouped = divided.grouped if divided else None
    space = open_workspace(settings())
    of_pipelines = [[measure.key for plan in each for measure in plan.measures] for each in (plans, *further)]
    every = [plan for each in (plans, *further) for plan in each]
    failures = sorted(key for key, row in space.runs.coalitions(plan.key for plan in every).items() if row.failure)
    corrections = [measure.key for plan in retrained for measure in plan.measures]
    inputs = CreditInputs(
        config.credit,
        config.stopping,
        [key for keys in of_pipelines for key in keys],
        digest_of(failures),
        config.seed,
        corrections,
        config.fidelity.scaled,
        groups=divided.grouped.key if divided else "",
        match=divided.match if divided else "",
        pipelines=[len(keys) for keys in of_pipelines] if further else [],
    )

    def compute(space: Workspace) -> CreditOutputs:
        names = data.outputs.players
        measured = credited = paired = _measured(space, data, plans, config, grouped)
        pairs, combined = untold_pairs(config), None
        ends, failed = (measured.null, measured.grand), list(measured.failed)
        masks = measured.masks
        if isinstance(measured, MeasuredGame) and retrained:
            credited = gather(space, names, retrained, grouped)
            corrected = measured.corrected_by(credited, config)
            of_players, paired = corrected.corrected, measured.scaled(corrected.slope)
            ends = credited.null, credited.grand
        else:
            of_players = measured.estimate(config.credit, config.seed)
        if further:
            others = [gather(space, names, each) for each in further]
            estimates = [
                game.estimate(config.credit, pipeline_seed(config.seed, number))
                for number, game in enumerate(others, start=1)
            ]
            combined = combine_pipelines([of_players, *estimates], confidence=config.credit.confidence)
            each_credit = space.artifacts.put(_by_pipeline(names, [of_players, *estimates]).to_parquet(index=False))
            of_players, games = combined.credit, [measured, *others]
            ends = float(np.mean([game.null for game in games])), float(np.mean([game.grand for game in games]))
            masks = np.concatenate([game.masks for game in games])
            failed = [members for game in games for members in game.failed]
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
            **({"rerun_low": combined.rerun_low, "rerun_high": combined.rerun_high} if combined else {}),
        }
        table = pd.DataFrame(columns).sort_values(["credit", "contributor"], ascending=[False, True])
        return CreditOutputs(
            table=space.artifacts.put(table.to_parquet(index=False)),
            null_utility=ends[0],
            grand_utility=ends[1],
            failed=[list(members) for members in failed],
            trained=len(every),
            diagnostics=dict(estimate.diagnostics),
            certainty=_certainty(of_players, masks, config),
            interactions=pairs,
            measured_ends=(measured.null, measured.grand) if retrained or further else None,
            pipelines=each_credit if combined else "",
        )

    return run_here(CREDIT, inputs, compute)


def pipelines_sentence(credited: CreditOutputs) -> str:
    """How much credit moved between pipelines, for the report."""
    numbers = credited.diagnostics
    return (
        f"Credit is the mean over {numbers['pipelines']:.0f} pipelines: the classifier, the base model, its pruned "
        "copy and the coalitions were made as often, each time from other seeds. Between pipelines, the credit of a "
        f"contributor varies with a standard deviation of {numbers['deviation_pipelines']:.3g}, beside noise of "
        f"{numbers['noise_pipeline']:.3g} within one. The intervals contain both. The credit of an independent rerun "
        f"of as many pipelines lies in an interval {np.sqrt(2):.2f} times as wide (`rerun_low`, `rerun_high`)."
    )


def _by_pipeline(names: Sequence[str], estimates: Sequence[ShapleyEstimate]) -> pd.DataFrame:
    """The credit of each contributor in each pipeline; the first is number 1."""
    columns = ("values", "stderr", "ci_low", "ci_high")
    parts = [
        pd.DataFrame({"pipeline": number, "contributor": names, **{name: getattr(each, name) for name in columns}})
        for number, each in enumerate(estimates, start=1)
    ]
    return pd.concat(parts, ignore_index=True).rename(columns={"values": "credit"})


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


def _certainty(estimate: ShapleyEstimate, masks: np.ndarray, config: CreditConfig) -> Certainty:
    stopping = config.stopping
    return certainty_of(
        estimate,
        masks,
        stderr=stopping.stderr,
        top=stopping.top,
        stability=stopping.stability,
        seed=config.seed,
    )


def load_table(space: Workspace, digest: str) -> pd.DataFrame:
    """Load a stored Parquet table by its digest."""
    return pd.read_parquet(io.BytesIO(space.artifacts.get(digest)))

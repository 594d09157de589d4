"""Judge credit by models retrained on held-out coalitions: plans, credits to compare, and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.judging.datamodeling import (
    datamodeling_score,
    folds_of,
    held_out_coalitions,
    only_top,
    relative_change,
    without_top,
)
from royalty.models.properties.registry import chosen_property
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import Members, unfinished
from royalty.tasks.credit.estimate import gather
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.stages.stage import in_worker, run_stage

ATTRIBUTING = "royalty.tasks.judge.baselines_worker"
PARTS = 7
"""Steps of its progress."""

HELD_OUT_SEED = 1000
"""Added to the run's seed: held-out models are trained from seeds that no credit has seen."""

FOLDS = 10
"""Of cross-fitting: each held-out coalition is predicted by credit from nine tenths of the others."""

REMOVED, KEPT = (0.1, 0.2, 0.4), (0.6,)
"""Shares of contributors of highest credit, of counterfactuals."""


@dataclass(frozen=True)
class Credit:
    """Credit of contributors by one method, in their order.

    Attributes:
        null: utility of nobody in the family that the credit comes from; nan if the method has none.
        coalitions: trained for it, nobody and everybody not counted.
        seconds: of training, sampling and measuring, or of computing gradients.
    """

    method: str
    values: np.ndarray
    null: float
    coalitions: int
    seconds: float

    def of(self, _coalitions: Sequence[Members]) -> np.ndarray:
        """What held-out coalitions are predicted by: the same for all, `(contributors,)`."""
        return self.values


@dataclass(frozen=True)
class CrossFitted:
    """Credit from held-out models, for each of their coalitions from others than it.

    Attributes:
        values: `(contributors,)` each, by the members of the coalition that they predict.
        null, coalitions, seconds: as of `Credit`.
    """

    method: str
    values: Mapping[Members, np.ndarray]
    null: float
    coalitions: int
    seconds: float

    def of(self, coalitions: Sequence[Members]) -> np.ndarray:
        """`(coalitions, contributors)`."""
        return np.array([self.values[members] for members in coalitions])


def held_out(data: StageRecord, config: CreditConfig) -> dict[float, list[Members]]:
    """Members of the held-out coalitions of each size."""
    names = np.array(data.outputs["contributors"])
    return {
        alpha: [
            tuple(names[mask].tolist())
            for mask in held_out_coalitions(len(names), alpha, config.evaluation.subsets, seed=config.seed)
        ]
        for alpha in config.evaluation.alphas
    }


def in_turn(chosen: Mapping[float, Sequence[Members]]) -> list[Members]:
    """The coalitions of all sizes, taken in turn, so that a part of them covers every size."""
    longest = max(map(len, chosen.values()))
    return [group[index] for index in range(longest) for group in chosen.values() if index < len(group)]


def ends_of(data: StageRecord) -> list[Members]:
    """Everybody, and nobody."""
    return [tuple(data.outputs["contributors"]), ()]


def held_out_seeds(config: CreditConfig) -> range:
    return range(config.seed + HELD_OUT_SEED, config.seed + HELD_OUT_SEED + config.evaluation.seeds)


@task(cache_policy=NO_CACHE)
def attribute(data: StageRecord, base: StageRecord, classifier: StageRecord, config: CreditConfig) -> StageRecord:
    """Scores of contributors by each baseline of the paper."""
    inputs = {
        "train": data.outputs["train"],
        "base": base.outputs["model"],
        "classifier": classifier.outputs["classifier"],
        "reference": classifier.inputs["images"],
        "property": config.property,
        "sampling": config.sampling.model_dump(exclude={"draws", "stderr"}),
        "gradients": config.evaluation.gradients.model_dump(),
        "seed": config.seed,
    }
    work = in_worker("Baselines", PARTS, f"{ATTRIBUTING}.attribute", *inputs.values())
    return run_stage(
        "attribute", inputs=inputs, modules=(ATTRIBUTING, *chosen_property(config.property).modules), compute=work
    )


def baselines(attributed: StageRecord) -> Iterator[Credit]:
    for method, scores in attributed.outputs["scores"].items():
        yield Credit(method, np.array(scores), float("nan"), 0, attributed.outputs["seconds"][method])


def leave_one_out(data: StageRecord) -> list[Members]:
    """Everybody, nobody, and everybody but each contributor in turn."""
    names = data.outputs["contributors"]
    return [*ends_of(data), *(tuple(other for other in names if other != name) for name in names)]


def leave_one_out_credit(data: StageRecord, plans: Sequence[CoalitionPlan], method: str) -> Credit:
    """v(everybody) - v(everybody but i) (eq. 11), of the plans of `leave_one_out`."""
    space = open_workspace(settings())
    utilities = _mean_utilities(space, plans)
    names = tuple(data.outputs["contributors"])
    values = [
        utilities.get(names, np.nan) - utilities.get(tuple(other for other in names if other != name), np.nan)
        for name in names
    ]
    return Credit(method, np.nan_to_num(np.array(values)), utilities[()], len(names), _seconds(space, plans))


def shapley_credit(
    data: StageRecord, plans: Sequence[CoalitionPlan], method: str, config: CreditConfig
) -> list[Credit]:
    """Shapley credit from a growing number of the planned coalitions, the last from all."""
    space, names = open_workspace(settings()), data.outputs["contributors"]
    credits = []
    for budget in _budgets(len(plans) - 2, 2 * len(names)):
        used = plans[: budget + 2]
        measured = gather(space, names, used)
        values = measured.estimate(config.credit, config.seed).values
        credits.append(Credit(f"Shapley, {method}", values, measured.null, budget, _seconds(space, used)))
    return credits


@task(cache_policy=NO_CACHE)
def cross_fitted_credit(
    data: StageRecord, ends: Sequence[CoalitionPlan], plans: Sequence[CoalitionPlan], config: CreditConfig
) -> list[CrossFitted]:
    """Shapley credit from a growing number of the held-out models that are trained.

    No coalition has a part in the credit that it judges, so its models serve as those that were sampled for credit
    do. None where there are fewer than two for each contributor.

    Args:
        ends: everybody's and nobody's model, of the training seed whose models credit comes from.
    """
    space, names = open_workspace(settings()), data.outputs["contributors"]
    left = {plan.key for plan in unfinished(plans)}
    trained = [plan for plan in plans if plan.key not in left]
    members = list(dict.fromkeys(plan.members for plan in trained))
    folds = folds_of([len(own) for own in members], FOLDS).tolist()
    parts = [{own for own, fold in zip(members, folds, strict=True) if fold == each} for each in sorted(set(folds))]
    others = [[plan for plan in trained if plan.seed == ends[0].seed and plan.members not in part] for part in parts]
    most, credits = min(map(len, others), default=0), []
    for budget in _budgets(most, 2 * len(names)) if most >= 2 * len(names) else []:
        values: dict[Members, np.ndarray] = {}
        seconds = []
        for part, sampled in zip(parts, others, strict=True):
            used = [*ends, *sampled[:budget]]
            measured = gather(space, names, used)
            estimate = measured.estimate(config.credit, config.seed).values
            values |= dict.fromkeys(part, estimate)
            seconds.append(_seconds(space, used))
        credits.append(
            CrossFitted("Shapley, retrain, cross-fitted", values, measured.null, budget, float(np.mean(seconds)))
        )
    return credits


def _budgets(count: int, least: int) -> list[int]:
    """Numbers of coalitions from `least` to all of them."""
    return [*(least * factor for factor in (1, 2, 3, 4, 6, 8, 12, 16) if least * factor < 0.9 * count), count]


@task(cache_policy=NO_CACHE)
def score(
    data: StageRecord,
    chosen: Mapping[float, Sequence[Members]],
    plans: Sequence[CoalitionPlan],
    credits: Sequence[Credit | CrossFitted],
) -> StageRecord:
    """Digest of the table of LDS by method and alpha, judged on the held-out coalitions that are trained."""
    space, names = open_workspace(settings()), data.outputs["contributors"]
    utilities = _utilities_by_seed(space, plans)
    every = list(dict.fromkeys(plan.members for plan in plans if plan.key in utilities.trained))
    inputs = {
        "credits": [[credit.method, credit.coalitions, credit.of(every).tolist()] for credit in credits],
        "held_out": sorted(measure.key for plan in plans for measure in plan.measures if plan.key in utilities.trained),
    }

    def compute(space: Workspace) -> dict[str, Any]:
        rows = []
        for alpha, members in chosen.items():
            whole, table = utilities.of(members)
            masks = np.array([[name in own for name in names] for own in whole])
            for credit in credits:
                judged = datamodeling_score(credit.of(whole), credit.null, masks, table)
                described = {"method": credit.method, "trained": credit.coalitions, "seconds": credit.seconds}
                rows.append({**described, "alpha": alpha, **asdict(judged)})
        return {"table": space.artifacts.put(pd.DataFrame(rows).to_parquet(index=False)), "rows": rows}

    return run_stage("lds", inputs=inputs, modules=(__name__, "royalty.models.judging.datamodeling"), compute=compute)


def counterfactual_coalitions(data: StageRecord, credits: Sequence[Credit]) -> dict[tuple[str, str], Members]:
    """Members of each counterfactual, by method and what was done; everybody under ("", "everybody")."""
    names = np.array(data.outputs["contributors"])
    asked = {("", "everybody"): tuple(names.tolist())}
    for credit in credits:
        for share in REMOVED:
            asked[credit.method, f"without top {share:.0%}"] = tuple(names[without_top(credit.values, share)].tolist())
        for share in KEPT:
            asked[credit.method, f"only top {share:.0%}"] = tuple(names[only_top(credit.values, share)].tolist())
    return asked


@task(cache_policy=NO_CACHE)
def compare(asked: Mapping[tuple[str, str], Members], plans: Sequence[CoalitionPlan]) -> list[dict[str, Any]]:
    """Relative change of the utility by each counterfactual, mean and range over training seeds."""
    by_seed: dict[int, dict[Members, float]] = {}
    space = open_workspace(settings())
    for plan, utility in _utilities(space, plans):
        by_seed.setdefault(plan.seed, {})[plan.members] = utility
    rows = []
    for (method, done), members in asked.items():
        changes = [
            relative_change(found[members], found[asked["", "everybody"]])
            for found in by_seed.values()
            if members in found and asked["", "everybody"] in found
        ]
        if method and changes:
            low, high = min(changes), max(changes)
            mean = float(np.mean(changes))
            rows.append(
                {"method": method, "done": done, "change": mean, "low": low, "high": high, "seeds": len(changes)}
            )
    return rows


@dataclass(frozen=True)
class _BySeed:
    """Utilities of retrained coalitions by training seed."""

    found: Mapping[int, Mapping[Members, float]]
    trained: frozenset[str]

    def of(self, members: Sequence[Members]) -> tuple[list[Members], np.ndarray]:
        """Those coalitions that every seed has which has any, and their utilities, `(seeds, coalitions)`."""
        seeds = [found for found in self.found.values() if all(own in found for own in members)]
        seeds = seeds or list(self.found.values())[:1]
        whole = [own for own in members if all(own in found for found in seeds)]
        return whole, np.array([[found[own] for own in whole] for found in seeds])


def _utilities_by_seed(space: Workspace, plans: Sequence[CoalitionPlan]) -> _BySeed:
    found: dict[int, dict[Members, float]] = {}
    trained = set()
    for plan, utility in _utilities(space, plans):
        found.setdefault(plan.seed, {})[plan.members] = utility
        trained.add(plan.key)
    return _BySeed(found, frozenset(trained))


def _utilities(space: Workspace, plans: Sequence[CoalitionPlan]) -> Iterator[tuple[CoalitionPlan, float]]:
    """Each plan that is measured, with its mean utility over draws."""
    rows = space.runs.measurements(measure.key for plan in plans for measure in plan.measures)
    for plan in plans:
        values = [rows[measure.key].utility for measure in plan.measures if measure.key in rows]
        if values and len(values) == len(plan.measures):
            yield plan, float(np.mean(values))


def _mean_utilities(space: Workspace, plans: Sequence[CoalitionPlan]) -> dict[Members, float]:
    grouped: dict[Members, list[float]] = {}
    for plan, utility in _utilities(space, plans):
        grouped.setdefault(plan.members, []).append(utility)
    return {members: float(np.mean(values)) for members, values in grouped.items()}


def _seconds(space: Workspace, plans: Sequence[CoalitionPlan]) -> float:
    """Training, sampling and measuring of what was planned, of one worker."""
    models = space.runs.coalitions(plan.key for plan in plans).values()
    rows = space.runs.measurements(measure.key for plan in plans for measure in plan.measures).values()
    return sum(row.train_seconds for row in models) + sum(row.sample_seconds + row.measure_seconds for row in rows)

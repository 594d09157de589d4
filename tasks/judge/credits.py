"""Credits to judge: Shapley values, leave-one-out, baselines, and Shapley values from held-out models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.judging.datamodeling import folds_of
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import Members, unfinished
from royalty.tasks.credit.estimate import gather
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.judge.stages import Attributed
from royalty.tasks.judge.utilities import mean_utilities, seconds_of

FOLDS = 10
"""Folds of cross-fitting. Each held-out coalition is predicted by credit from the other folds."""


@dataclass(frozen=True)
class MethodCredit:
    """Credit of contributors by one method.

    Attributes:
        values: `(contributors,)`, in the order of the contributors; higher is more valuable.
        null: utility of the null coalition among the models behind the credit; None if the method has none.
        coalitions: number of coalitions trained for it, not counting the null and the grand coalition.
        seconds: time for training, sampling and measuring, or for computing gradients.
    """

    method: str
    values: np.ndarray
    null: float | None
    coalitions: int
    seconds: float

    def of(self, _coalitions: Sequence[Members]) -> np.ndarray:
        """Credit that predicts held-out coalitions: the same for all, `(contributors,)`."""
        return self.values


@dataclass(frozen=True)
class CrossFitted:
    """Credit from held-out models, estimated for each coalition from the other folds.

    Attributes:
        values: `(contributors,)` each, by the members of the coalition that it predicts.
        null, coalitions, seconds: see `MethodCredit`.
    """

    method: str
    values: Mapping[Members, np.ndarray]
    null: float | None
    coalitions: int
    seconds: float

    def of(self, coalitions: Sequence[Members]) -> np.ndarray:
        """Credit that predicts each coalition, `(coalitions, contributors)`."""
        return np.array([self.values[members] for members in coalitions])


JudgedCredit = MethodCredit | CrossFitted


def baseline_credits(attributed: Attributed) -> Iterator[MethodCredit]:
    """Convert the scores of the baselines to credits."""
    for method, scores in attributed.outputs.scores.items():
        yield MethodCredit(method, np.array(scores), None, 0, attributed.outputs.seconds[method])


def leave_one_out_credit(data: Ingested, plans: Sequence[CoalitionPlan], method: str) -> MethodCredit:
    """Leave-one-out credit, v(everybody) - v(everybody but i) (eq. 11); 0 if a training failed.

    Args:
        plans: plans of the coalitions of `leave_one_out`.
    """
    space, names = open_workspace(settings()), tuple(data.outputs.contributors)
    utilities = mean_utilities(space, plans)
    others = [tuple(other for other in names if other != name) for name in names]
    values = np.array([utilities.get(names, np.nan) - utilities.get(members, np.nan) for members in others])
    return MethodCredit(method, np.nan_to_num(values), utilities[()], len(names), seconds_of(space, plans))


def shapley_credit(
    data: Ingested, plans: Sequence[CoalitionPlan], method: str, config: CreditConfig
) -> list[MethodCredit]:
    """Shapley credit from growing numbers of the planned coalitions; the last uses all."""
    space, names = open_workspace(settings()), data.outputs.contributors
    credits = []
    for budget in _budgets(len(plans) - 2, 2 * len(names)):
        used = plans[: budget + 2]
        measured = gather(space, names, used)
        values = measured.estimate(config.credit, config.seed).values
        title = f"Shapley, {method}"
        credits.append(MethodCredit(title, values, measured.null, budget, seconds_of(space, used)))
    return credits


@task(name="estimate cross-fitted credit", cache_policy=NO_CACHE)
def cross_fitted_credit(
    data: Ingested, ends: Sequence[CoalitionPlan], plans: Sequence[CoalitionPlan], config: CreditConfig
) -> list[CrossFitted]:
    """Shapley credit from growing numbers of the trained held-out models.

    No coalition contributes to the credit that predicts it. Empty if there are fewer than two coalitions for each
    contributor.

    Args:
        ends: plans of the grand and the null coalition, with the training seed of the models used for the credit.
    """
    space, least = open_workspace(settings()), 2 * len(data.outputs.contributors)
    pending = {plan.key for plan in unfinished(plans)}
    parts = _parts([plan for plan in plans if plan.key not in pending], ends[0].seed)
    most = min((len(part.others) for part in parts), default=0)
    budgets = _budgets(most, least) if most >= least else []
    return [_cross_fitted(space, data, ends, parts, budget, config) for budget in budgets]


@dataclass(frozen=True)
class _Part:
    """A fold of the held-out coalitions, and the plans of the other folds, which predict it."""

    members: frozenset[Members]
    others: Sequence[CoalitionPlan]


def _parts(trained: Sequence[CoalitionPlan], seed: int) -> list[_Part]:
    """Divide the held-out coalitions into folds.

    Args:
        trained: plans of the trained held-out models.
        seed: training seed of the models used for the credit.
    """
    members = list(dict.fromkeys(plan.members for plan in trained))
    folds = folds_of([len(coalition) for coalition in members], FOLDS).tolist()
    parts = []
    for number in sorted(set(folds)):
        inside = frozenset(coalition for coalition, fold in zip(members, folds, strict=True) if fold == number)
        parts.append(_Part(inside, [plan for plan in trained if plan.seed == seed and plan.members not in inside]))
    return parts


def _cross_fitted(
    space: Workspace,
    data: Ingested,
    ends: Sequence[CoalitionPlan],
    parts: Sequence[_Part],
    budget: int,
    config: CreditConfig,
) -> CrossFitted:
    """Estimate credit for each fold from `budget` of the coalitions outside it."""
    values: dict[Members, np.ndarray] = {}
    seconds, null = [], None
    for part in parts:
        used = [*ends, *part.others[:budget]]
        measured = gather(space, data.outputs.contributors, used)
        values |= dict.fromkeys(part.members, measured.estimate(config.credit, config.seed).values)
        seconds.append(seconds_of(space, used))
        null = measured.null
    return CrossFitted("Shapley, retrain, cross-fitted", values, null, budget, float(np.mean(seconds)))


def _budgets(count: int, least: int) -> list[int]:
    """Numbers of coalitions to estimate from: multiples of `least`, then `count`."""
    return [*(least * factor for factor in (1, 2, 3, 4, 6, 8, 12, 16) if least * factor < 0.9 * count), count]

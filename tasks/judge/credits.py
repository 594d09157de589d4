"""Methods to judge: Shapley values, games with pairs, leave-one-out, baselines, and credit from held-out models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.choices import Semivalue
from royalty.models.judging.datamodeling import folds_of
from royalty.models.valuation.coalitions import masks_of
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import Members, unfinished
from royalty.tasks.credit.measured import gather
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.judge.stages import Attributed
from royalty.tasks.judge.utilities import mean_utilities, seconds_of
from royalty.tasks.stages.task import task

TITLES: dict[Semivalue, str] = {"shapley": "Shapley", "banzhaf": "Banzhaf", "beta": "Beta"}
"""Names of credits, by semivalue."""

FOLDS = 10
"""Folds of cross-fitting. Each held-out coalition is predicted by credit from the other folds."""


@dataclass(frozen=True)
class MethodCredit:
    """Credit of contributors by one method, which predicts a coalition by the sum of its members' credit.

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

    def predict(self, _coalitions: Sequence[Members], masks: np.ndarray) -> np.ndarray:
        """Utilities of coalitions, `(coalitions,)`; without a utility of nobody, up to a constant."""
        predicted: np.ndarray = (self.null or 0.0) + masks @ self.values
        return predicted


@dataclass(frozen=True)
class Predicted:
    """Predictions of held-out coalitions that are not sums of credit.

    Attributes:
        by_members: utility of each held-out coalition.
        null, coalitions, seconds: see `MethodCredit`.
    """

    method: str
    by_members: Mapping[Members, float]
    null: float | None
    coalitions: int
    seconds: float

    def predict(self, coalitions: Sequence[Members], _masks: np.ndarray) -> np.ndarray:
        """Utilities of coalitions, `(coalitions,)`."""
        return np.array([self.by_members[members] for members in coalitions])


JudgedMethod = MethodCredit | Predicted


def baseline_credits(data: Ingested, attributed: Attributed) -> Iterator[MethodCredit]:
    """Convert the scores of the baselines to credits; public contributors have none."""
    credited = np.array([name not in data.outputs.public for name in data.outputs.contributors])
    for method, scores in attributed.outputs.scores.items():
        yield MethodCredit(method, np.array(scores)[credited], None, 0, attributed.outputs.seconds[method])


def leave_one_out_credit(data: Ingested, plans: Sequence[CoalitionPlan], method: str) -> MethodCredit:
    """Leave-one-out credit, v(everybody) - v(everybody but i) (eq. 11); 0 if a training failed.

    Args:
        plans: plans of the coalitions of `leave_one_out`.
    """
    space, names = open_workspace(settings()), tuple(data.outputs.players)
    utilities = mean_utilities(space, plans)
    others = [tuple(other for other in names if other != name) for name in names]
    values = np.array([utilities.get(names, np.nan) - utilities.get(members, np.nan) for members in others])
    return MethodCredit(method, np.nan_to_num(values), utilities[()], len(names), seconds_of(space, plans))


def game_predictions(
    data: Ingested,
    plans: Sequence[CoalitionPlan],
    method: str,
    coalitions: Sequence[Members],
    config: CreditConfig,
) -> Predicted:
    """Predictions of coalitions by a game with interactions, fitted to all planned coalitions of a method."""
    space, names = open_workspace(settings()), data.outputs.players
    measured = gather(space, names, plans)
    distinct = list(dict.fromkeys(coalitions))
    predicted = measured.game(config.credit, config.seed).predict(masks_of(distinct, names)).values
    by_members = dict(zip(distinct, predicted.tolist(), strict=True))
    title = f"game with pairs, {method}"
    return Predicted(title, by_members, measured.null, len(plans) - 2, seconds_of(space, plans))


def shapley_credit(
    data: Ingested, plans: Sequence[CoalitionPlan], method: str, config: CreditConfig
) -> list[MethodCredit]:
    """Shapley credit from growing numbers of the planned coalitions; the last uses all."""
    space, names = open_workspace(settings()), data.outputs.players
    credits = []
    for budget in _budgets(len(plans) - 2, 2 * len(names)):
        used = plans[: budget + 2]
        measured = gather(space, names, used)
        values = measured.estimate(config.credit, config.seed).values
        title = f"{TITLES[config.credit.value]}, {method}"
        credits.append(MethodCredit(title, values, measured.null, budget, seconds_of(space, used)))
    return credits


@task(name="estimate cross-fitted credit", cache_policy=NO_CACHE)
def cross_fitted_credit(
    data: Ingested, ends: Sequence[CoalitionPlan], plans: Sequence[CoalitionPlan], config: CreditConfig
) -> list[Predicted]:
    """Shapley credit from growing numbers of the trained held-out models.

    No coalition contributes to the credit that predicts it. Empty if there are fewer than two coalitions for each
    contributor.

    Args:
        ends: plans of the grand and the null coalition.
        plans: plans of the held-out coalitions, of all sets.
    """
    space, names = open_workspace(settings()), data.outputs.players
    pending = {plan.key for plan in unfinished(plans)}
    parts = _parts([plan for plan in plans if plan.key not in pending])
    most = min((len({plan.members for plan in part.others}) for part in parts), default=0)
    budgets = _budgets(most, 2 * len(names)) if most >= 2 * len(names) else []
    return [_cross_fitted(space, names, ends, parts, budget, config) for budget in budgets]


@dataclass(frozen=True)
class _Part:
    """A fold of the held-out coalitions, and the plans of the other folds, which predict it."""

    members: list[Members]
    others: Sequence[CoalitionPlan]


def _parts(trained: Sequence[CoalitionPlan]) -> list[_Part]:
    """Divide the held-out coalitions into folds; a coalition of several sets is in one fold.

    Args:
        trained: plans of the trained held-out models.
    """
    members = list(dict.fromkeys(plan.members for plan in trained))
    folds = folds_of([len(coalition) for coalition in members], FOLDS).tolist()
    parts = []
    for number in sorted(set(folds)):
        inside = [coalition for coalition, fold in zip(members, folds, strict=True) if fold == number]
        excluded = set(inside)
        parts.append(_Part(inside, [plan for plan in trained if plan.members not in excluded]))
    return parts


def _cross_fitted(
    space: Workspace,
    names: Sequence[str],
    ends: Sequence[CoalitionPlan],
    parts: Sequence[_Part],
    budget: int,
    config: CreditConfig,
) -> Predicted:
    """Predict each fold by credit from `budget` of the coalitions outside it."""
    by_members: dict[Members, float] = {}
    seconds, null = [], None
    for part in parts:
        chosen = set(list(dict.fromkeys(plan.members for plan in part.others))[:budget])
        used = [*ends, *(plan for plan in part.others if plan.members in chosen)]
        measured = gather(space, names, used)
        values = measured.estimate(config.credit, config.seed).values
        predicted = measured.null + masks_of(part.members, names) @ values
        by_members |= dict(zip(part.members, predicted.tolist(), strict=True))
        seconds.append(seconds_of(space, used))
        null = measured.null
    return Predicted(
        f"{TITLES[config.credit.value]}, retrain, cross-fitted", by_members, null, budget, float(np.mean(seconds))
    )


def _budgets(count: int, least: int) -> list[int]:
    """Numbers of coalitions to estimate from: multiples of `least`, then `count`."""
    return [*(least * factor for factor in (1, 2, 3, 4, 6, 8, 12, 16) if least * factor < 0.9 * count), count]

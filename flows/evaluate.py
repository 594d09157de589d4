"""Evaluate credit with models that are retrained in full on held-out coalitions of contributors.

The linear datamodeling score (LDS) measures whether the summed credit of their members ranks held-out coalitions as
their retrained models do. The counterfactual measures the effect of removing the contributors of highest credit.
Retrained models are kept, so that later methods are evaluated on the same models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prefect import flow

from royalty.flows.credit import prepare
from royalty.flows.fan_out import measure_all
from royalty.flows.runner import RUNNER
from royalty.infra.settings import settings
from royalty.models.generators.training import Method
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.anchor import Game
from royalty.tasks.credit.coalitions import SIDE_BY_SIDE, Members, draw_coalitions, plan_coalitions, unfinished
from royalty.tasks.credit.counts import check_counterfactual, check_lds
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.training import settle_images
from royalty.tasks.judge.baselines import attribute
from royalty.tasks.judge.credits import (
    MethodCredit,
    baseline_credits,
    cross_fitted_credit,
    leave_one_out_credit,
    shapley_credit,
)
from royalty.tasks.judge.held_out import (
    counterfactual_coalitions,
    ends_of,
    held_out,
    held_out_seeds,
    in_turn,
    leave_one_out,
)
from royalty.tasks.judge.publication import write_counterfactual, write_lds
from royalty.tasks.judge.scores import compare_utilities, score
from royalty.tasks.judge.stages import JudgementKind
from royalty.tasks.stages.publishing import Published
from royalty.tasks.stages.stage import TableRow


@dataclass(frozen=True)
class Judgement:
    """The result of an evaluation.

    Attributes:
        rows: the table: one row for each method and coalition size, or for each method and counterfactual.
        retrained, planned: held-out models that were retrained, and that were planned.
        folder: contains the table and, for LDS, the plot.
    """

    name: str
    rows: list[TableRow]
    retrained: int
    planned: int
    folder: str
    mlflow_run: str


@flow(name="evaluate-lds", flow_run_name="evaluate lds {config.name}", task_runner=RUNNER)
def lds(config: CreditConfig) -> Judgement:
    """LDS of Shapley credit and of the paper's baselines, on coalitions that no credit was computed from."""
    game = prepare(config, check_lds)
    config = settle_images(game.pruned, game.judge, config)
    credits = all_credits(config, game)
    coalitions, seeds = held_out(game.data, config), held_out_seeds(config)
    plans = planned(config, game, in_turn(coalitions), "retrain", seeds, by_seed=True)
    measure_within(plans, config)
    ends = planned(config, game, ends_of(game.data), "retrain", seeds[:1])
    measure_all(unfinished(ends), config.coalitions.timeout_minutes)
    cross_fitted = cross_fitted_credit(game.data, ends, plans, config)
    scored = score(game.data, coalitions, plans, [*credits, *cross_fitted])
    return judgement(config, scored.outputs.rows, plans, write_lds(config, scored))


@flow(name="evaluate-counterfactual", flow_run_name="evaluate counterfactual {config.name}", task_runner=RUNNER)
def counterfactual(config: CreditConfig) -> Judgement:
    """Change of the property when the contributors of highest credit are removed, or only they are kept."""
    game = prepare(config, check_counterfactual)
    config = settle_images(game.pruned, game.judge, config)
    credits = all_credits(config, game)
    final = list({credit.method: credit for credit in credits}.values())
    by_method = counterfactual_coalitions(game.data, final)
    distinct = list(dict.fromkeys(by_method.values()))
    plans = planned(config, game, distinct, "retrain", held_out_seeds(config), by_seed=True)
    measure_within(plans, config)
    compared = compare_utilities(by_method, plans)
    return judgement(config, compared.outputs.rows, plans, write_counterfactual(config, compared))


JUDGEMENTS: Mapping[JudgementKind, Callable[[CreditConfig], Judgement]] = {
    "lds": lds,
    "counterfactual": counterfactual,
}


def judgement(
    config: CreditConfig, rows: list[TableRow], plans: Sequence[CoalitionPlan], published: Published
) -> Judgement:
    """The result of an evaluation, after it was published."""
    left = len(unfinished(plans))
    return Judgement(config.name, rows, len(plans) - left, len(plans), published.folder, published.run)


def all_credits(config: CreditConfig, game: Game) -> list[MethodCredit]:
    """Credit by Shapley values with growing numbers of coalitions, by leave-one-out, and by the baselines."""
    credits: list[MethodCredit] = []
    seeds = [config.seed]
    for method, count in config.evaluation.shapley.items():
        sampled = config.coalitions.model_copy(update={"count": count})
        coalitions = draw_coalitions(game.data, sampled, config.seed)
        plans = planned(config, game, coalitions, method, seeds)
        measure_all(unfinished(plans), config.coalitions.timeout_minutes)
        credits += shapley_credit(game.data, plans, method, config)
    for method in config.evaluation.shapley:
        plans = planned(config, game, leave_one_out(game.data), method, seeds)
        measure_all(unfinished(plans), config.coalitions.timeout_minutes)
        credits.append(leave_one_out_credit(game.data, plans, f"leave-one-out, {method}"))
    return [*credits, *baseline_credits(attribute(game.data, game.base, game.judge, config))]


def planned(
    config: CreditConfig,
    game: Game,
    coalitions: Sequence[Members],
    method: Method,
    seeds: Sequence[int],
    by_seed: bool = False,
) -> list[CoalitionPlan]:
    """Plans for coalitions and seeds; with `by_seed`, sorted by seed."""
    plans = plan_coalitions(coalitions, game.data, game.start(method), game.judge, config, method, seeds)
    return sorted(plans, key=lambda plan: plan.seed) if by_seed else plans


def measure_within(plans: Sequence[CoalitionPlan], config: CreditConfig) -> None:
    """Train as many coalitions as the time limit allows, in the order of the plans."""
    limit = config.evaluation.minutes
    end = float("inf") if limit is None else time.monotonic() + 60 * limit
    pending, batch = unfinished(plans), SIDE_BY_SIDE * settings().workers
    while pending and time.monotonic() < end:
        measure_all(pending[:batch], config.coalitions.timeout_minutes)
        pending = pending[batch:]

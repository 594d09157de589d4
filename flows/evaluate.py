"""Evaluate credit with models that are retrained in full on held-out coalitions of contributors.

The linear datamodeling score (LDS) measures whether a method ranks held-out coalitions as their retrained models do,
on independent sets of coalitions, beside a noise ceiling and controls. The counterfactual measures the effect of
removing the contributors of highest credit. Retrained models are kept, so that later methods are evaluated on the same
models.
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
    JudgedMethod,
    MethodCredit,
    baseline_credits,
    cross_fitted_credit,
    game_predictions,
    leave_one_out_credit,
    shapley_credit,
)
from royalty.tasks.judge.held_out import (
    HeldOutSet,
    Retrained,
    counterfactual_coalitions,
    ends_of,
    held_out,
    held_out_seeds,
    leave_one_out,
    planted_in,
    retrained_again,
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
        leads: for LDS, paired comparisons of the methods of this package with each other one.
        retrained, planned: held-out models that were retrained, and that were planned.
        folder: contains the table and, for LDS, the plot.
    """

    name: str
    rows: list[TableRow]
    leads: list[TableRow]
    retrained: int
    planned: int
    folder: str
    mlflow_run: str


@flow(name="evaluate-lds", flow_run_name="evaluate lds {config.name}", task_runner=RUNNER)
def lds(config: CreditConfig) -> Judgement:
    """LDS of Shapley credit, of games with pairs, of the paper's baselines and of controls.

    Each seed has coalitions of its own. Some are retrained twice, for the noise ceiling.
    """
    game = prepare(config, check_lds)
    config = settle_images(game.pruned, game.judge, config)
    names = game.data.outputs.players
    drawn = held_out(names, config)
    sets = [Retrained(each.coalitions, retrain(config, game, each)) for each in drawn]
    second = retrained_again(drawn, config)
    again = Retrained(second.coalitions, retrain(config, game, second))
    methods = all_methods(config, game, [members for each in drawn for members in each.in_turn])
    plans = [plan for each in (sets[0], again, *sets[1:]) for plan in each.plans]
    measure_within(plans, config)
    ends = planned(config, game, ends_of(game.data), "retrain", [drawn[0].seed])
    measure_all(unfinished(ends), config)
    crossed = cross_fitted_credit(game.data, ends, [plan for each in sets for plan in each.plans], config)
    scored = score(game.data, sets, again, [*methods, *crossed], planted_in(names, config), config.seed)
    return judgement(config, scored.outputs.rows, plans, write_lds(config, scored), scored.outputs.leads)


def retrain(config: CreditConfig, game: Game, drawn: HeldOutSet) -> list[CoalitionPlan]:
    """Plans of the models that are retrained on a set of held-out coalitions."""
    return planned(config, game, drawn.in_turn, "retrain", [drawn.seed])


@flow(name="evaluate-counterfactual", flow_run_name="evaluate counterfactual {config.name}", task_runner=RUNNER)
def counterfactual(config: CreditConfig) -> Judgement:
    """Change of the property when the contributors of highest credit are removed, or only they are kept."""
    game = prepare(config, check_counterfactual)
    config = settle_images(game.pruned, game.judge, config)
    credits = all_credits(config, game)
    final = list({credit.method: credit for credit in credits}.values())
    by_method = counterfactual_coalitions(game.data, final)
    distinct = list(dict.fromkeys(by_method.values()))
    plans = planned(config, game, distinct, "retrain", held_out_seeds(config))
    measure_within(plans, config)
    compared = compare_utilities(by_method, plans)
    return judgement(config, compared.outputs.rows, plans, write_counterfactual(config, compared))


JUDGEMENTS: Mapping[JudgementKind, Callable[[CreditConfig], Judgement]] = {
    "lds": lds,
    "counterfactual": counterfactual,
}


def judgement(
    config: CreditConfig,
    rows: list[TableRow],
    plans: Sequence[CoalitionPlan],
    published: Published,
    leads: Sequence[TableRow] = (),
) -> Judgement:
    """The result of an evaluation, after it was published."""
    left = len(unfinished(plans))
    return Judgement(config.name, rows, list(leads), len(plans) - left, len(plans), published.folder, published.run)


def all_methods(config: CreditConfig, game: Game, coalitions: Sequence[Members]) -> list[JudgedMethod]:
    """Methods that predict held-out coalitions: credit of every kind, and games with pairs."""
    credits = all_credits(config, game)
    games = [
        game_predictions(game.data, plans, method, coalitions, config)
        for method, plans in sampled_plans(config, game).items()
    ]
    return [*credits, *games]


def all_credits(config: CreditConfig, game: Game) -> list[MethodCredit]:
    """Credit by Shapley values with growing numbers of coalitions, by leave-one-out, and by the baselines."""
    credits: list[MethodCredit] = []
    for method, plans in sampled_plans(config, game).items():
        measure_all(unfinished(plans), config)
        credits += shapley_credit(game.data, plans, method, config)
    for method in config.evaluation.shapley:
        plans = planned(config, game, leave_one_out(game.data), method, [config.seed])
        measure_all(unfinished(plans), config)
        credits.append(leave_one_out_credit(game.data, plans, f"leave-one-out, {method}"))
    return [*credits, *baseline_credits(game.data, attribute(game.data, game.base, game.judge, config))]


def sampled_plans(config: CreditConfig, game: Game) -> dict[Method, list[CoalitionPlan]]:
    """Plans of the coalitions from which Shapley credit is estimated, by training method."""
    plans = {}
    for method, count in config.evaluation.shapley.items():
        sampled = config.coalitions.model_copy(update={"count": count})
        coalitions = draw_coalitions(game.data, sampled, config.seed)
        plans[method] = planned(config, game, coalitions, method, [config.seed])
    return plans


def planned(
    config: CreditConfig, game: Game, coalitions: Sequence[Members], method: Method, seeds: Sequence[int]
) -> list[CoalitionPlan]:
    """Plans for coalitions and seeds, sorted by seed."""
    plans = plan_coalitions(coalitions, game.data, game.start(method), game.judge, config, method, seeds)
    return sorted(plans, key=lambda plan: plan.seed)


def measure_within(plans: Sequence[CoalitionPlan], config: CreditConfig) -> None:
    """Train as many coalitions as the time limit allows, in the order of the plans."""
    limit = config.evaluation.minutes
    end = float("inf") if limit is None else time.monotonic() + 60 * limit
    pending, batch = unfinished(plans), SIDE_BY_SIDE * settings().workers
    while pending and time.monotonic() < end:
        measure_all(pending[:batch], config)
        pending = pending[batch:]

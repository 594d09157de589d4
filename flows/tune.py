"""Choose training and sampling settings of coalitions by their agreement with retrained models, and their time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prefect import flow

from royalty.flows.credit import plan, prepare
from royalty.flows.evaluate import planned
from royalty.flows.fan_out import measure_all
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.runner import RUNNER
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import unfinished
from royalty.tasks.credit.fidelity import coalitions_to_retrain
from royalty.tasks.credit.training import prune
from royalty.tasks.judge.tuning import candidates, check_tuning, compare_settings, finest, write_tuning
from royalty.tasks.stages.stage import TableRow


@dataclass(frozen=True)
class Tuning:
    """The result of a comparison of settings.

    Attributes:
        rows: one for each combination of settings. `error` is that of predicting retrained utilities, with its
            `stderr`, see `royalty.models.judging.tuning.Comparison`; `seconds` are of one coalition on one worker. One
            row is `chosen`, if any predicts better than no model does.
        coalitions: retrained coalitions that settings were compared on.
        folder: contains `tuning.csv`.
    """

    name: str
    rows: list[TableRow]
    coalitions: int
    folder: str
    mlflow_run: str


@flow(name="tune", flow_run_name=named("tune"), task_runner=RUNNER)
@explained
def tune(config: CreditConfig) -> Tuning:
    """Retrain some coalitions of a run in full, and make their cheap models with each combination of settings.

    All models are kept, and a run with the chosen settings reuses them.
    """
    game = prepare(config, check_tuning)
    asked = config.model_copy(
        update={"fidelity": config.fidelity.model_copy(update={"retrain": config.tuning.retrain})}
    )
    coalitions = coalitions_to_retrain(plan(config, game), game.data.outputs.players, asked)[2:]  # without the ends
    method, seeds = config.coalitions.method, [config.seed]
    retrained = planned(finest(config), game, coalitions, "retrain", seeds)
    measure_all(unfinished(retrained), config)
    cheap = []
    for candidate in candidates(config):
        tried = candidate.of(config)
        pruned = replace(game, pruned=prune(game.data, game.base, tried)) if method != "finetune" else game
        plans = planned(tried, pruned, coalitions, method, seeds)
        measure_all(unfinished(plans), tried)
        cheap.append((candidate, plans))
    tuned = compare_settings(retrained, cheap)
    published = write_tuning(config, tuned)
    return Tuning(config.name, tuned.outputs.rows, tuned.outputs.coalitions, published.folder, published.run)

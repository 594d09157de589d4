"""Show contributors what credit measures: models with and without some of them, and of each one alone."""

from __future__ import annotations

from dataclasses import dataclass

from prefect import flow

from royalty.flows.credit import measure_until, plan, prepare, retrain_some
from royalty.flows.evaluate import planned
from royalty.flows.fan_out import measure_all
from royalty.flows.runner import RUNNER
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import unfinished
from royalty.tasks.credit.counts import check_gallery
from royalty.tasks.credit.estimate import estimate_credit
from royalty.tasks.credit.samples import sample_models
from royalty.tasks.credit.training import settle_images
from royalty.tasks.judge.gallery import (
    credit_of,
    first_models,
    gallery_rows,
    measure_own_images,
    shown_coalitions,
    shown_properties,
)
from royalty.tasks.judge.gallery_publication import write_gallery
from royalty.tasks.report.show_gallery import show_gallery
from royalty.tasks.stages.stage import TableRow


@dataclass(frozen=True)
class Gallery:
    """The result of a gallery.

    Attributes:
        rows: properties of the shown models.
        folder: contains the page and its tables.
        report: path of the report of the run, which shows the gallery; or why it does not yet.
    """

    name: str
    rows: list[TableRow]
    folder: str
    mlflow_run: str
    report: str


@flow(name="evaluate-gallery", flow_run_name="evaluate gallery {config.name}", task_runner=RUNNER)
def gallery(config: CreditConfig) -> Gallery:
    """Credit as a run does, and show models of some of the contributors, from the same noise.

    Each is trained from `evaluation.seeds` seeds, of which the first is that of the run.
    """
    game = prepare(config, check_gallery)
    config = settle_images(game.pruned, game.judge, config)
    plans = plan(config, game)
    plans = plans[: measure_until(config, game, plans).plans]
    retrained, _ = retrain_some(config, game, plans)
    credited = estimate_credit(game.data, plans, config, retrained)

    shown = shown_coalitions(credit_of(credited), game.data.outputs.players)
    seeds = range(config.seed, config.seed + config.evaluation.seeds)
    models = {}
    for name in shown_properties(config.property):
        judged = config.model_copy(update={"property": name})
        coalitions = [each.members for each in shown]
        models[name] = planned(judged, game, coalitions, config.coalitions.method, seeds)
        measure_all(unfinished(models[name]), config)
    rows = gallery_rows(shown, models)
    sampled = sample_models(first_models(shown, models[config.property]), game.data, game.judge, config)
    own = measure_own_images(game.data, game.judge, config)
    published = write_gallery(config, rows, sampled, own, credited)
    return Gallery(config.name, rows, published.folder, published.run, show_gallery(config.name, credited.key))

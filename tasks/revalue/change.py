"""Compare a run with the last credited run of its name, and estimate the cost of crediting the change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect.cache_policies import NO_CACHE

from royalty.infra.ledger.money import formatted
from royalty.infra.pages.summary import Change
from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.stored import open_set
from royalty.models.payout.payees import unpayable
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit import estimate
from royalty.tasks.credit.anchor import Game
from royalty.tasks.credit.coalitions import unfinished
from royalty.tasks.credit.estimate import CREDIT
from royalty.tasks.credit.grouping import GROUPS
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import SAMPLES, Ingested, IngestOutputs
from royalty.tasks.credit.training import outdated_models
from royalty.tasks.items.stages import MATCH
from royalty.tasks.pay import division
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.pay.stages import PAY
from royalty.tasks.report.stages import TRACK, RunStages
from royalty.tasks.stages.task import task

MODELS = ("classifier", "generator", "pruning", "seed")
"""Sections of the configuration that determine the starting models and the classifier."""
FOLLOWING = (SAMPLES.name, CREDIT.name, PAY.name, MATCH.name, TRACK.name)
"""Stages that run again after coalitions were measured."""


@dataclass(frozen=True)
class LastRun:
    """The last credited run of a name.

    Attributes:
        measurements: keys of the measurements behind its credit.
        logged_at, commit: when it was logged, and the commit of the code.
    """

    name: str
    stages: RunStages
    measurements: Sequence[str]
    logged_at: str
    commit: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """`payout.csv` as records, highest credit first."""
        return list(self.stages.pay.outputs.rows)

    @property
    def game(self) -> Game:
        """The stages that determined the utilities of its coalitions."""
        stages = self.stages
        grouped = GROUPS.kept(open_workspace(settings()), stages.credit.inputs.groups)
        return Game(stages.ingest, stages.classifier, stages.train, stages.prune, stages.pipeline, grouped)


def load_last_run(name: str, data: Ingested) -> LastRun:
    """Load the last credited run of a name; see `find_last_run`.

    Raises:
        InputError: no run of that name has credit.
    """
    last = find_last_run(name, data)
    if last is None:
        raise InputError(
            f"a revaluation compares with the last credited run, and {settings().root} has no credited run named "
            f"{name!r}. Run `royalty run` with this configuration first"
        )
    return last


def game_of_last_run(config: CreditConfig, data: Ingested) -> Game | None:
    """The game of the last credited run of this name, if that run was of these images, these settings and this code.

    A revaluation starts from older models. A run after it uses the same ones, so that both arrive at one credit.
    """
    last = find_last_run(config.name, data)
    if last is None or last.stages.ingest.key != data.key or outdated_models(last.game):
        return None
    return last.game


def find_last_run(name: str, data: Ingested) -> LastRun | None:
    """Find the last credited run of a name. Of several runs with the same credit, prefer the one of these images.

    Returns:
        None if no run of that name has credit.
    """
    space = open_workspace(settings())
    tracks = [track for track in TRACK.latest(space) if track.inputs.name == name]
    if not tracks:
        return None
    # If a later run arrives at an earlier credit again, its track is reused, so the order of tracks does not tell which
    # credit is the latest. The ledger does. A run that was killed before its track does not count as finished.
    latest = space.ledger.credit_of(name)
    with_latest_credit = [track for track in tracks if latest and latest[1] in track.inputs.stages] or tracks
    with_these_images = [track for track in with_latest_credit if data.key in track.inputs.stages]
    track = (with_these_images or with_latest_credit)[-1]
    origin = space.lineage.origins([track.key]).get(track.key)
    return LastRun(
        name=name,
        stages=RunStages.kept(space, track.inputs.stages),
        measurements=track.inputs.measurements,
        logged_at=origin.created_at if origin else "an unknown time",
        commit=track.outputs.commit,
    )


@task(name="compare with the last run", cache_policy=NO_CACHE)
def compare_with_last_run(
    config: CreditConfig,
    last: LastRun,
    data: Ingested,
    again: Sequence[CoalitionPlan] | None,
    plans: Sequence[CoalitionPlan],
    retrain_base: bool,
) -> Change:
    """Compare a configuration and its images with the last credited run.

    Args:
        again: coalitions of the last run as the present code would plan them; None if settings differ.
        plans: coalitions of this run.
        retrain_base: train the starting models again if anything about them changed.
    """
    space = open_workspace(settings())
    then, now = last.stages.ingest.outputs.brought, data.outputs.brought
    waiting = unpayable(load_payees(config.payout, config.data), data.outputs.players, config.payout.currency)
    waited = set(last.stages.pay.inputs.unpayable)
    people = {
        "added": sorted(now.keys() - then.keys()),
        "removed": sorted(then.keys() - now.keys()),
        "changed": sorted(name for name in then.keys() & now.keys() if then[name] != now[name]),
    }
    other_parts = _parts(last.stages.ingest.outputs) != _parts(data.outputs)
    before, after = (_image_ids(space, stage.outputs) for stage in (last.stages.ingest, data))
    outdated = outdated_models(last.game)
    measured = len(last.measurements) // (config.sampling.draws if again is not None else 1)
    expected_plans = plans[:measured] if config.stopping.has_target and again is not None else plans
    change = Change(
        name=config.name,
        since=last.logged_at,
        commit=last.commit,
        **{kind: tuple(names) for kind, names in people.items()},
        held_out=other_parts and not any(people.values()),
        configuration=tuple(space.runs.differences(config.name, config.claimed(), config.reread)),
        code=(*_changed_code(last, again), *(outdated if retrain_base else ())),
        start=_trained_on_others(last, data) if retrain_base else _starts_elsewhere(again, plans),
        unpayable=tuple(sorted((waiting ^ waited) & set(now))),
        kept=() if retrain_base else outdated,
        coalitions=0,
        seconds=0.0,
        images_added=len(after - before),
        images_removed=len(before - after),
        paid=tuple(_paid_by(space, config.name)),
    )
    return _with_cost(space, change, last, expected_plans, retrain_base)


def _image_ids(space: Workspace, data: IngestOutputs) -> set[str]:
    """IDs of all images, trained on or held out."""
    return {identity for digest in _parts(data) for identity in open_set(space.artifacts.verified(digest)).ids}


def _paid_by(space: Workspace, run: str) -> Iterator[str]:
    """What pools have paid by the credit of a run."""
    for posted in space.ledger.verified_statements():
        if posted.source == run and posted.active and posted.kind == "division":
            pool = f"{posted.pool} of {posted.period}" if posted.period else posted.pool
            amount = formatted(posted.amount, posted.currency)
            yield f"{pool}: {amount} on {posted.created_at[:10]} by statement {posted.id}"


def _trained_on_others(last: LastRun, data: Ingested) -> bool:
    """Whether the last run's starting models or classifier were trained on images other than these."""
    trained_on = last.stages.train.inputs.train, last.stages.classifier.inputs.images
    return trained_on != (data.outputs.train, data.outputs.classifier)


def _starts_elsewhere(again: Sequence[CoalitionPlan] | None, plans: Sequence[CoalitionPlan]) -> bool:
    """Whether the coalitions of this run and of the last run start from different models."""
    return again is not None and {plan.start for plan in again} != {plan.start for plan in plans}


def _with_cost(
    space: Workspace, change: Change, last: LastRun, plans: Sequence[CoalitionPlan], retrain_base: bool
) -> Change:
    """Add the number of coalitions to measure, and the expected time."""
    model_settings_changed = any(key.split(".")[0] in MODELS for key, _, _ in change.configuration)
    retrain_all = change.found and (retrain_base or model_settings_changed)
    pending = list(plans) if retrain_all else unfinished(plans)
    seconds = expected_seconds(space, last, pending, reuse=not retrain_all)
    if retrain_all and seconds is not None:
        seconds += last.game.seconds
    return replace(change, coalitions=len({(plan.members, plan.drawn) for plan in pending}), seconds=seconds)


def expected_seconds(space: Workspace, last: LastRun, pending: Sequence[CoalitionPlan], *, reuse: bool) -> float | None:
    """Expected wall time of pending plans and of what follows them, in seconds, from the times of the last run.

    None if it has none.

    Args:
        reuse: do not count models and measurements that exist.
    """
    measures = space.runs.measurements(last.measurements).values()
    models = [row for row in space.runs.coalitions(row.coalition for row in measures).values() if row.members]
    if not pending:
        return 0.0
    if not models:
        return None
    training = sum(row.train_seconds for row in models) / len(models)
    measuring = sum(row.sample_seconds + row.measure_seconds for row in measures) / len(measures)
    trained = space.runs.coalitions(plan.key for plan in pending) if reuse else {}
    measured = space.runs.measurements(measure.key for plan in pending for measure in plan.measures) if reuse else {}
    work = sum(training for plan in pending if plan.members and plan.key not in trained)
    work += sum(measuring for plan in pending for measure in plan.measures if measure.key not in measured)
    return work / settings().workers + sum(stage.seconds for stage in last.stages.finished if stage.name in FOLLOWING)


def _changed_code(last: LastRun, again: Sequence[CoalitionPlan] | None) -> tuple[str, ...]:
    """Parts of the method whose code differs from that of the last run."""
    changed = []
    if again is not None:
        keys = [measure.key for plan in again for measure in plan.measures][: len(last.measurements)]
        if keys != list(last.measurements):
            changed.append("training, sampling and measuring coalitions")
    if not estimate.is_current(last.stages.credit):
        changed.append("estimating credit")
    if not division.is_current(last.stages.pay.stage):
        changed.append("dividing the pool")
    return tuple(changed)


def _parts(data: IngestOutputs) -> tuple[str, str, str]:
    return data.train, data.classifier, data.validation

"""What differs from the last credited run of a name, and what it will cost to credit that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.pages.summary import Change
from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.payees import unpayable
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit import estimate
from royalty.tasks.credit.anchor import Game
from royalty.tasks.credit.coalitions import unfinished
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested, IngestOutputs
from royalty.tasks.credit.training import outdated_models
from royalty.tasks.pay import division
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.report.stages import TRACK, RunStages

MODELS = ("classifier", "generator", "pruning", "seed")
"""Settings that the models depend on from which coalitions start, or by which they are judged."""


@dataclass(frozen=True)
class LastRun:
    """The last credited run of a name.

    Attributes:
        measurements: keys of those that its credit was estimated from.
        logged_at, commit: when it was logged, and by which code.
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
        """What decided the worth of its coalitions."""
        stages = self.stages
        return Game(stages.ingest, stages.classifier, stages.train, stages.prune, stages.pipeline)


def load_last_run(name: str, data: Ingested) -> LastRun:
    """The last credited run of a name; of several with the same credit, the one of these images if there is one.

    Raises:
        InputError: no run of that name has come to credit.
    """
    space = open_workspace(settings())
    tracks = [track for track in TRACK.latest(space) if track.inputs.name == name]
    if not tracks:
        raise InputError(
            f"a revaluation compares with the last credited run, and no run named {name!r} in {settings().root} came "
            "to credit. Run `royalty run` with this configuration first"
        )
    # A track says nothing of when its run came to the same credit again; the ledger says which credit is the latest.
    # A run that was killed before its track is not finished, and the one before it is the last.
    latest = space.ledger.credit_of(name)
    of_latest = [track for track in tracks if latest and latest[1] in track.inputs.stages] or tracks
    of_these = [track for track in of_latest if data.key in track.inputs.stages]
    track = (of_these or of_latest)[-1]
    origin = space.lineage.origins([track.key]).get(track.key)
    return LastRun(
        name=name,
        stages=RunStages.kept(space, track.inputs.stages),
        measurements=track.inputs.measurements,
        logged_at=origin.created_at if origin else "an unknown time",
        commit=track.outputs.commit,
    )


@task(cache_policy=NO_CACHE)
def compare_with_last_run(
    config: CreditConfig,
    last: LastRun,
    data: Ingested,
    again: Sequence[CoalitionPlan] | None,
    plans: Sequence[CoalitionPlan],
    retrain_base: bool,
) -> Change:
    """What differs from the last credited run.

    Args:
        again: that run's coalitions as they would be planned by the code as it is now; None where settings differ.
        plans: this run's.
        retrain_base: models that coalitions start from are trained anew, if anything about them changed.
    """
    space = open_workspace(settings())
    then, now = last.stages.ingest.outputs.brought, data.outputs.brought
    waiting = unpayable(load_payees(config.payout, config.data), list(now), config.payout.currency)
    lacked = set(last.stages.pay.inputs.unpayable)
    people = {
        "added": sorted(now.keys() - then.keys()),
        "removed": sorted(then.keys() - now.keys()),
        "changed": sorted(name for name in then.keys() & now.keys() if then[name] != now[name]),
    }
    other_parts = _parts(last.stages.ingest.outputs) != _parts(data.outputs)
    outdated = outdated_models(last.game)
    measured = len(last.measurements) // (config.sampling.draws if again is not None else 1)
    own = plans[:measured] if config.stopping.has_target and again is not None else plans
    change = Change(
        name=config.name,
        since=last.logged_at,
        commit=last.commit,
        **{kind: tuple(names) for kind, names in people.items()},
        held_out=other_parts and not any(people.values()),
        configuration=tuple(space.runs.differences(config.name, config.claimed(), config.reread)),
        code=(*_changed_code(last, again), *(outdated if retrain_base else ())),
        start=_trained_on_others(last, data) if retrain_base else _starts_elsewhere(again, plans),
        unpayable=tuple(sorted((waiting ^ lacked) & set(now))),
        kept=() if retrain_base else outdated,
        coalitions=0,
        seconds=0.0,
    )
    return _with_cost(space, change, last, own, retrain_base)


def _trained_on_others(last: LastRun, data: Ingested) -> bool:
    """Whether the models that the last run's coalitions start from saw other images than these."""
    seen = last.stages.train.inputs.train, last.stages.classifier.inputs.images
    return seen != (data.outputs.train, data.outputs.classifier)


def _starts_elsewhere(again: Sequence[CoalitionPlan] | None, plans: Sequence[CoalitionPlan]) -> bool:
    """Whether the coalitions of this run start from another model than those of the last one."""
    return again is not None and {plan.start for plan in again} != {plan.start for plan in plans}


def _with_cost(
    space: Workspace, change: Change, last: LastRun, plans: Sequence[CoalitionPlan], retrain_base: bool
) -> Change:
    settings_of_models = any(key.split(".")[0] in MODELS for key, _, _ in change.configuration)
    anew = change.found and (retrain_base or settings_of_models)
    pending = list(plans) if anew else unfinished(plans)
    seconds = _seconds(space, last, pending, trained=not anew)
    if anew and seconds is not None:
        seconds += last.game.seconds
    return replace(change, coalitions=len({plan.members for plan in pending}), seconds=seconds)


def _seconds(space: Workspace, last: LastRun, pending: Sequence[CoalitionPlan], *, trained: bool) -> float | None:
    """Wall time that is expected of pending plans, by what those of the last run took on average.

    Args:
        trained: models that are there already are not trained again.
    """
    measures = space.runs.measurements(last.measurements).values()
    models = [row for row in space.runs.coalitions(row.coalition for row in measures).values() if row.members]
    if not pending:
        return 0.0
    if not models:
        return None
    training = sum(row.train_seconds for row in models) / len(models)
    measuring = sum(row.sample_seconds + row.measure_seconds for row in measures) / len(measures)
    there = space.runs.coalitions(plan.key for plan in pending) if trained else {}
    done = space.runs.measurements(measure.key for plan in pending for measure in plan.measures) if trained else {}
    work = sum(training for plan in pending if plan.members and plan.key not in there)
    work += sum(measuring for plan in pending for measure in plan.measures if measure.key not in done)
    return work / settings().workers


def _changed_code(last: LastRun, again: Sequence[CoalitionPlan] | None) -> tuple[str, ...]:
    """What other code does now than in the last run."""
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

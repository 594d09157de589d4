"""What differs from the last credited run of a name, and what it will cost to credit that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.pages.summary import Change
from royalty.infra.settings import settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.generators.kinds import module_of
from royalty.models.payout.payees import unpayable
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit import estimate as crediting
from royalty.tasks.credit.base import WORKER as PIPELINE_WORKER
from royalty.tasks.credit.coalitions import unfinished
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.pay import division as paying
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.stages.stage import WORKER, stage_key

PARTS = ("train", "classifier", "validation")
MODELS = ("classifier", "generator", "pruning", "seed")
"""Settings that the models depend on from which coalitions start, or by which they are judged."""

STARTS = ("classifier", "base", "train", "prune")
"""Stages that train those models; `base` is there only where the run trains what its LoRAs are put on."""


@dataclass(frozen=True)
class Credited:
    """The last credited run of a name.

    Attributes:
        stages: by name.
        measurements: keys of those that its credit was estimated from.
        logged_at, commit: when it was logged, and by which code.
    """

    name: str
    stages: Mapping[str, StageRecord]
    measurements: Sequence[str]
    logged_at: str
    commit: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """`payout.csv` as records, highest credit first."""
        return list(self.stages["pay"].outputs["rows"])


def load_credited(name: str, data: StageRecord) -> Credited:
    """The last credited run of a name; of several with the same credit, the one of these images if there is one.

    Raises:
        InputError: no run of that name has come to credit.
    """
    space = open_workspace(settings())
    tracks = [track for track in space.runs.stages("track") if track.inputs["name"] == name]
    if not tracks:
        raise InputError(
            f"a revaluation compares with the last credited run, and no run named {name!r} in {settings().root} came "
            "to credit. Run `royalty run` with this configuration first"
        )
    # A track says nothing of when its run came to the same credit again; the ledger says which credit is the latest.
    # A run that was killed before its track is not finished, and the one before it is the last.
    latest = space.ledger.credit_of(name)
    of_latest = [track for track in tracks if latest and latest[1] in track.inputs["stages"]] or tracks
    of_these = [track for track in of_latest if data.key in track.inputs["stages"]]
    track = (of_these or of_latest)[-1]
    stages = (space.runs.stage(key) for key in track.inputs["stages"])
    origin = space.lineage.origins([track.key]).get(track.key)
    return Credited(
        name=name,
        stages={stage.name: stage for stage in stages if stage is not None},
        measurements=track.inputs["measurements"],
        logged_at=origin.created_at if origin else "an unknown time",
        commit=track.outputs["commit"],
    )


@task(cache_policy=NO_CACHE)
def compare(
    config: CreditConfig,
    last: Credited,
    data: StageRecord,
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
    then, now = _brought(last.stages["ingest"]), _brought(data)
    waiting = unpayable(load_payees(config.payout, config.data), list(now), config.payout.currency)
    lacked = set(last.stages["pay"].inputs["unpayable"])
    people = {
        "added": sorted(now.keys() - then.keys()),
        "removed": sorted(then.keys() - now.keys()),
        "changed": sorted(name for name in then.keys() & now.keys() if then[name] != now[name]),
    }
    parts = [[stage.outputs[part] for part in PARTS] for stage in (last.stages["ingest"], data)]
    outdated = _outdated(last, config)
    measured = len(last.measurements) // (config.sampling.draws if again is not None else 1)
    own = plans[:measured] if config.stopping.has_target and again is not None else plans
    change = Change(
        name=config.name,
        since=last.logged_at,
        commit=last.commit,
        **{kind: tuple(names) for kind, names in people.items()},
        held_out=parts[0] != parts[1] and not any(people.values()),
        configuration=tuple(space.runs.differences(config.name, config.claimed(), config.reread)),
        code=(*_changed_code(last, again), *(outdated if retrain_base else ())),
        start=_trained_on_others(last, data) if retrain_base else _starts_elsewhere(again, plans),
        unpayable=tuple(sorted((waiting ^ lacked) & set(now))),
        kept=() if retrain_base else outdated,
        coalitions=0,
        seconds=0.0,
    )
    return _with_cost(space, change, last, own, retrain_base)


def _trained_on_others(last: Credited, data: StageRecord) -> bool:
    """Whether the models that the last run's coalitions start from saw other images than these."""
    seen = last.stages["train"].inputs["train"], last.stages["classifier"].inputs["images"]
    return seen != (data.outputs["train"], data.outputs["classifier"])


def _starts_elsewhere(again: Sequence[CoalitionPlan] | None, plans: Sequence[CoalitionPlan]) -> bool:
    """Whether the coalitions of this run start from another model than those of the last one."""
    return again is not None and {plan.start for plan in again} != {plan.start for plan in plans}


def _with_cost(
    space: Workspace, change: Change, last: Credited, plans: Sequence[CoalitionPlan], retrain_base: bool
) -> Change:
    settings_of_models = any(key.split(".")[0] in MODELS for key, _, _ in change.configuration)
    anew = change.found and (retrain_base or settings_of_models)
    pending = list(plans) if anew else unfinished(plans)
    seconds = _seconds(space, last, pending, trained=not anew)
    if anew and seconds is not None:
        seconds += sum(record.seconds for stage, record in last.stages.items() if stage in STARTS)
    return replace(change, coalitions=len({plan.members for plan in pending}), seconds=seconds)


def _seconds(space: Workspace, last: Credited, pending: Sequence[CoalitionPlan], *, trained: bool) -> float | None:
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


def _changed_code(last: Credited, again: Sequence[CoalitionPlan] | None) -> tuple[str, ...]:
    """What other code does now than in the last run."""
    changed = []
    if again is not None:
        keys = [measure.key for plan in again for measure in plan.measures][: len(last.measurements)]
        if keys != list(last.measurements):
            changed.append("training, sampling and measuring coalitions")
    stages = {"credit": ("estimating credit", crediting.MODULES), "pay": ("dividing the pool", paying.MODULES)}
    for stage, (title, modules) in stages.items():
        record = last.stages[stage]
        if stage_key(stage, record.inputs, modules) != record.key:
            changed.append(title)
    return tuple(changed)


def _outdated(last: Credited, config: CreditConfig) -> tuple[str, ...]:
    """Models that coalitions start from, or are judged by, that the code as it is now would train otherwise."""
    generator = WORKER, module_of(config.generator.kind)
    stages = {
        "classifier": ("the classifier", (WORKER,)),
        "base": ("the pipeline under the LoRAs", (PIPELINE_WORKER,)),
        "train": ("the base model", generator),
        "prune": ("the pruned model", generator),
    }
    return tuple(
        title
        for stage, (title, modules) in stages.items()
        if stage in last.stages and stage_key(stage, last.stages[stage].inputs, modules) != last.stages[stage].key
    )


def _brought(data: StageRecord) -> dict[str, str]:
    """Digest of each contributor's images, by name."""
    return dict(zip(data.outputs["contributors"], data.outputs["contributor_digests"], strict=True))

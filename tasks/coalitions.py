"""Sample coalitions of contributors, and measure each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

import numpy as np
import prefect.runtime
from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.keys import code_version, digest_of
from infra.locks import alone
from infra.processes import ProcessEnded, run_in_process
from infra.runstore import CoalitionRecord, StageRecord
from infra.settings import settings
from infra.workspace import check_place, open_workspace
from models.generators.kinds import module_of
from models.properties.registry import Chosen, chosen_property
from models.training import Method
from models.valuation.coalitions import sample_coalitions
from tasks.config import CoalitionConfig, CreditConfig
from tasks.counts import is_paired
from tasks.plan import CoalitionPlan, MeasurePlan

MEASURING = "tasks.measuring"
SIDE_BY_SIDE = 8
"""Coalitions that one process trains at once: as many as a stack of models holds."""

Members = tuple[str, ...]


@task(cache_policy=NO_CACHE)
def draw_coalitions(data: StageRecord, config: CoalitionConfig, seed: int) -> list[Members]:
    """Members of everybody's and nobody's coalition, then of each sampled one."""
    names = np.array(data.outputs["contributors"])
    paired = is_paired(len(names), config.count)
    masks = sample_coalitions(len(names), config.count, seed=seed, sizes=config.sizes, paired=paired)
    return [tuple(names.tolist()), (), *(tuple(names[mask].tolist()) for mask in masks)]


@task(cache_policy=NO_CACHE)
def plan_coalitions(
    coalitions: Sequence[Members],
    data: StageRecord,
    start: StageRecord,
    classifier: StageRecord,
    config: CreditConfig,
    method: Method,
    seeds: Sequence[int],
) -> list[CoalitionPlan]:
    """One plan for each coalition and training seed.

    Its key covers the images of its members, and those of others only by the model that it starts from.
    """
    digests = dict(zip(data.outputs["contributors"], data.outputs["contributor_digests"], strict=True))
    training = config.coalitions.training(method, config.generator)
    shared = {
        "start": start.outputs["model"],
        "method": method,
        "training": asdict(training),
        "code": code_version("models.retraining", module_of(config.generator.kind)),
    }
    unlearned = {"everybody": digests} if method in ("gradient-ascent", "influence") else {}
    measured = chosen_property(config.property)
    measure_code = code_version(module_of(config.generator.kind), "models.properties.classifier", *measured.modules)
    plans = []
    for members in coalitions:
        for seed in seeds:
            own = {"members": {name: digests[name] for name in members}, "seed": seed, **unlearned}
            key = digest_of({**own, **shared})
            measures = tuple(
                _measure_plan(key, classifier, config, measured, config.seed + draw, measure_code)
                for draw in range(config.sampling.draws)
            )
            plans.append(
                CoalitionPlan(
                    key, members, data.outputs["train"], start.outputs["model"], method, training, seed, measures
                )
            )
    return plans


def _measure_plan(
    coalition: str, classifier: StageRecord, config: CreditConfig, measured: Chosen, draw: int, code: str
) -> MeasurePlan:
    described = {
        "property": config.property,
        "judge": classifier.outputs["classifier"],
        "images": config.sampling.images,
        "steps": config.sampling.steps,
        "scheduler": config.sampling.scheduler,
        "draw": draw,
    }
    reference = classifier.inputs["images"]
    compared = {"reference": reference} if measured.known.compares else {}
    key = digest_of({"coalition": coalition, "code": code, **described, **compared})
    return MeasurePlan(key=key, reference=reference, **described)


@task(cache_policy=NO_CACHE, retries=1, tags=["gpu"])
def measure_together(plans: Sequence[CoalitionPlan], timeout_minutes: float, place: str, wait: bool) -> list[str]:
    """Train and measure some coalitions in a process of their own; what is finished already is left alone.

    A process that is killed or runs out of time may have done so by any of its coalitions. Each that it left
    unfinished has one of its own then, and is recorded as failed if that ends likewise.

    Args:
        place: of the stores, as the flow sees them; this may be another machine.
        wait: until other flows of this home are through with what they are at.

    Returns:
        Keys of the coalitions that were left to another flow: none, if this waits.
    """
    check_place(settings(), place)
    pending = unfinished(plans)
    with _claimed(pending, wait) as claimed:
        _measure(unfinished(claimed), timeout_minutes)  # another flow may have finished some before it let them go
    return [plan.key for plan in pending if plan not in claimed]


@contextmanager
def _claimed(plans: Sequence[CoalitionPlan], wait: bool) -> Iterator[list[CoalitionPlan]]:
    """Hold coalitions, so that no other flow of this home trains them meanwhile; those that are held."""
    folder = settings().root / "locks"
    with ExitStack() as held:
        # In the order of their keys, so that of flows that wait for each other's coalitions one always goes on.
        ordered = sorted(plans, key=lambda plan: plan.key)
        got = {plan.key for plan in ordered if held.enter_context(alone(folder / plan.key, wait=wait))}
        yield [plan for plan in plans if plan.key in got]


def _measure(plans: Sequence[CoalitionPlan], timeout_minutes: float) -> None:
    if not plans:
        return
    try:
        _measure_in_process(plans, timeout_minutes)
    except (ProcessEnded, MemoryError):
        for plan in unfinished(plans):
            try:
                _measure_in_process([plan], timeout_minutes)
            except (ProcessEnded, MemoryError) as ended:
                _record_failure(plan, f"{ended}, twice")


def _measure_in_process(plans: Sequence[CoalitionPlan], timeout_minutes: float) -> None:
    run_in_process(
        f"{MEASURING}.measure_coalitions",
        plans,
        settings().threads,
        _flow_run(),
        settings(),
        advance=_no_progress,
        timeout=60 * timeout_minutes,
        mendable=(MemoryError,),
    )


def _record_failure(plan: CoalitionPlan, failure: str) -> None:
    open_workspace(settings()).runs.record_coalition(
        CoalitionRecord(
            key=plan.key,
            members=list(plan.members),
            method=plan.method,
            seed=plan.seed,
            items=0,
            train_seconds=0.0,
            device="none",
            checkpoint=None,
            failure=failure,
        ),
        plan.edges(None),
        _flow_run(),
    )


def _flow_run() -> str | None:
    return prefect.runtime.flow_run.id  # type: ignore[no-any-return]


def unfinished(plans: Sequence[CoalitionPlan]) -> list[CoalitionPlan]:
    """The plans with something left to train or measure, each key once; a failed training is finished."""
    runs = open_workspace(settings()).runs
    trained = runs.coalitions(plan.key for plan in plans)
    measured = runs.measurements(measure.key for plan in plans for measure in plan.measures)

    def finished(plan: CoalitionPlan) -> bool:
        row = trained.get(plan.key)
        if row is None:
            return False
        return row.checkpoint is None or all(measure.key in measured for measure in plan.measures)

    return list({plan.key: plan for plan in plans if not finished(plan)}.values())


def made_here(plans: Sequence[CoalitionPlan]) -> dict[str, list[str]]:
    """The rows that this flow run recorded of each coalition of which it recorded any, by its key."""
    rows = {plan.key: [plan.key, *(measure.key for measure in plan.measures)] for plan in plans}
    origins = open_workspace(settings()).lineage.origins([row for own in rows.values() for row in own])
    made = {row for row, origin in origins.items() if origin.flow_run == _flow_run()}
    return {key: fresh for key, own in rows.items() if (fresh := [row for row in own if row in made])}


def shares(pending: Sequence[CoalitionPlan]) -> list[list[CoalitionPlan]]:
    """The plans in groups for one process each; nobody's, which trains nothing, fills no place in one."""
    trained = [plan for plan in pending if plan.members]
    groups = [trained[start : start + SIDE_BY_SIDE] for start in range(0, len(trained), SIDE_BY_SIDE)] or [[]]
    groups[0] += [plan for plan in pending if not plan.members]
    return [group for group in groups if group]


def _no_progress(_steps: int) -> None:
    """A group is one step of the fan-out's progress; its own steps are not shown."""

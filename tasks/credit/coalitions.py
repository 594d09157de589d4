"""Sample coalitions of contributors, then train and measure the model of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import prefect.runtime
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.locks import alone
from royalty.infra.processes.workers import Deferred, ProcessEnded, run_in_process
from royalty.infra.settings import settings
from royalty.infra.stores.keys import code_version, digest_of
from royalty.infra.workspace import check_place, open_workspace
from royalty.models.data.stored import open_set
from royalty.models.generators.kinds import module_of
from royalty.models.generators.training import UNLEARNING, Method
from royalty.models.properties.registry import Chosen, chosen_property
from royalty.models.valuation.coalitions import members_of, sample_coalitions
from royalty.tasks.config.credit import CoalitionConfig, CreditConfig
from royalty.tasks.credit.counts import is_paired
from royalty.tasks.credit.drawn import draw_sets, drawn_items
from royalty.tasks.credit.grouping import Grouped, owners
from royalty.tasks.credit.plan import WORKER, CoalitionPlan, MeasuredUtility, MeasurePlan, TrainedModel
from royalty.tasks.credit.recording import flow_run, record, record_trained
from royalty.tasks.credit.stages import Classified, Ingested
from royalty.tasks.credit.training import measuring_modules
from royalty.tasks.stages.context import call_with_stores
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.credit import coalitions_worker as worker
else:
    worker = Deferred(WORKER)

TRAINING = "royalty.tasks.credit.coalition_models"
MEASURING = "royalty.tasks.credit.coalition_utilities"
"""Modules that train and that measure a coalition's model. Each has its own code version, so that a change of the
measurement retrains no model."""

SIDE_BY_SIDE = 8
"""Most coalitions that one process trains: as a stack of models, or because each is quick."""

TASKS = 4
"""Processes of coalitions that a worker of this machine has in turn, where coalitions are not trained in a stack."""

Members = tuple[str, ...]


@task(name="draw coalitions", cache_policy=NO_CACHE)
def draw_coalitions(
    data: Ingested, config: CoalitionConfig, seed: int, grouped: Grouped | None = None
) -> list[Members]:
    """Draw coalitions; returns the members of the grand and the null coalition, then of each sampled one.

    Args:
        grouped: groups of contributors, whose members are in the same coalitions.
    """
    names = data.outputs.players
    owner = owners(names, grouped)
    players = int(owner.max()) + 1
    paired = is_paired(players, config.count)
    masks = sample_coalitions(players, config.count, seed=seed, sizes=config.sizes, paired=paired)
    return [tuple(names), (), *members_of(masks[:, owner], names)]


@task(name="plan coalitions", cache_policy=NO_CACHE)
def plan_coalitions(
    coalitions: Sequence[Members],
    data: Ingested,
    start: str,
    classifier: Classified,
    config: CreditConfig,
    method: Method,
    seeds: Sequence[int],
) -> list[CoalitionPlan]:
    """Plan the training and measuring of each coalition, once for each training seed.

    The key of a plan covers the images of its members and public ones, and others only through the starting model. With
    the unlearning methods and `amortized` the key covers all images: the model unlearns those of the others, or is
    trained on those of everybody.

    `pooled` mixes models of single contributors. They are planned as the coalitions of one that `sparsified` trains,
    so a run with that method shares them. `amortized` tells the coalition to one model for each seed, which is planned
    as one training on the images of everybody.

    Args:
        start: digest of the model that training starts from.
        seeds: training seeds.
    """
    return _planned(coalitions, data, start, classifier, config, method, seeds, tuple(data.outputs.public))


def _planned(
    coalitions: Sequence[Members],
    data: Ingested,
    start: str,
    classifier: Classified,
    config: CreditConfig,
    method: Method,
    seeds: Sequence[int],
    public: Members,
) -> list[CoalitionPlan]:
    digests = data.outputs.brought
    training = config.coalitions.training(method, config.generator)
    shared = {
        "start": start,
        "method": method,
        "training": asdict(training),
        "code": code_version(TRAINING, module_of(config.generator.kind)),
    }
    shared |= {"public": {name: digests[name] for name in public}} if public else {}
    all_images = {"everybody": digests} if method in ("amortized", *UNLEARNING) else {}
    measured = chosen_property(config.property)
    measure_code = code_version(MEASURING, *measuring_modules(config))
    alone: dict[tuple[str, int], CoalitionPlan] = {}
    if method == "pooled":
        single = [(name,) for name in sorted({*public}.union(*coalitions))]
        parts = _planned(single, data, start, classifier, config, "sparsified", seeds, public=())
        alone = {(part.members[0], part.seed): replace(part, measures=()) for part in parts}
    everybody, train = tuple(data.outputs.players), data.outputs.train
    wholes: dict[int, CoalitionPlan] = {}
    if method == "amortized":
        for seed in seeds:
            key = digest_of({"told": "any coalition", "seed": seed, **all_images, **shared})
            wholes[seed] = CoalitionPlan(key, everybody, train, start, method, training, seed, (), public)
    plans = []
    for members in coalitions:
        for seed in seeds:
            coalition = {"members": {name: digests[name] for name in members}, "seed": seed, **all_images}
            key = digest_of({**coalition, **shared})
            measures = tuple(
                _measure_plan(key, classifier, config, measured, config.seed + draw, measure_code)
                for draw in range(config.sampling.draws)
            )
            parts_of = tuple(alone[name, seed] for name in (*members, *public)) if alone else ()
            if wholes and (members or public):
                parts_of = (wholes[seed],)
            plans.append(
                CoalitionPlan(key, members, train, start, method, training, seed, measures, public, parts=parts_of)
            )
    return plans


@task(name="plan sets of images", cache_policy=NO_CACHE)
def plan_image_sets(
    data: Ingested, start: str, classifier: Classified, config: CreditConfig, seeds: Sequence[int]
) -> list[CoalitionPlan]:
    """Plan the models of drawn sets of images, once for each training seed.

    A set is drawn from the images of all contributors, so the key of each plan covers all of them.
    """
    images = open_set(open_workspace(settings()).artifacts.verified(data.outputs.train))
    everybody = tuple(data.outputs.players)
    whole = plan_coalitions.fn([everybody], data, start, classifier, config, config.coalitions.method, seeds)
    plans = []
    for drawn in draw_sets(config.coalitions.count, config.seed):
        for plan in whole:
            set_plan = replace(plan, drawn=drawn, key=digest_of({"everybody": plan.key, "drawn": asdict(drawn)}))
            present = images.membership[drawn_items(images, drawn, plan.public)].any(axis=0)
            members = tuple(
                name for name, has in zip(images.contributors, present, strict=True) if has and name in everybody
            )
            measures = tuple(
                replace(measure, key=digest_of({"coalition": set_plan.key, "measure": measure.key}))
                for measure in plan.measures
            )
            plans.append(replace(set_plan, members=members, measures=measures))
    return plans


def _measure_plan(
    coalition: str, classifier: Classified, config: CreditConfig, measured: Chosen, draw: int, code: str
) -> MeasurePlan:
    plan = MeasurePlan(
        key="",
        property=config.property,
        judge=classifier.outputs.classifier,
        reference=classifier.inputs.images,
        images=config.sampling.images,
        steps=config.sampling.steps,
        scheduler=config.sampling.scheduler,
        draw=draw,
    )
    described = asdict(plan)
    if not measured.known.compares:  # the property ignores the reference images
        del described["reference"]
    return replace(plan, key=digest_of({"coalition": coalition, "code": code, **described}))


def _group_name() -> str:
    """Name of the task that measures a group of coalitions, as Prefect shows it."""
    sizes = [len(plan.members) for plan in prefect.runtime.task_run.parameters["plans"]]
    return f"measure {len(sizes)} coalitions of {min(sizes)} to {max(sizes)} contributors"


@task(name="measure coalitions", task_run_name=_group_name, cache_policy=NO_CACHE, retries=1, tags=["gpu"])
def measure_together(plans: Sequence[CoalitionPlan], timeout_minutes: float, place: str, wait: bool) -> list[str]:
    """Train and measure several coalitions in one worker process, skipping those that are finished.

    If the process is killed, times out or runs out of memory, any of its coalitions may be the cause. Each unfinished
    coalition is then retried in a process of its own, and recorded as failed if that process fails in the same way.

    Args:
        timeout_minutes: time limit of a worker process.
        place: location of the stores as the flow sees it; the task may run on another machine.
        wait: wait for other flows of this home that are training these coalitions.

    Returns:
        Keys of the coalitions that were left to another flow; empty if `wait` is set.
    """
    check_place(settings(), place)
    pending = unfinished(plans)
    with _claimed(pending, wait) as claimed:
        _measure(unfinished(claimed), timeout_minutes)  # another flow may have finished some before releasing them
    return [plan.key for plan in pending if plan not in claimed]


@contextmanager
def _claimed(plans: Sequence[CoalitionPlan], wait: bool) -> Iterator[list[CoalitionPlan]]:
    """Lock coalitions against other flows of this home; yields the plans whose lock was acquired."""
    folder = settings().root / "locks"
    with ExitStack() as locks:
        # All flows take locks in the order of the keys, so that two flows cannot deadlock.
        ordered = sorted(plans, key=lambda plan: plan.key)
        locked = {plan.key for plan in ordered if locks.enter_context(alone(folder / plan.key, wait=wait))}
        yield [plan for plan in plans if plan.key in locked]


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
    home, runs, by_key = settings(), open_workspace(settings()).runs, {plan.key: plan for plan in plans}
    trained = runs.coalitions({*by_key, *(part.key for plan in plans for part in plan.parts)})

    def record_row(row: TrainedModel | MeasuredUtility | None) -> None:
        if row is not None:
            record(by_key, row)

    run_in_process(
        call_with_stores,
        worker.measure_coalitions,
        (plans, {key: row.checkpoint for key, row in trained.items()}, _measured(plans)),
        home.stores,
        advance=record_row,
        modules=(WORKER,),
        timeout=60 * timeout_minutes,
        mendable=(MemoryError,),
    )


def _measured(plans: Sequence[CoalitionPlan]) -> set[str]:
    """Keys of the planned measurements that are in the run store."""
    runs = open_workspace(settings()).runs
    return set(runs.measurements(measure.key for plan in plans for measure in plan.measures))


def _record_failure(plan: CoalitionPlan, failure: str) -> None:
    record_trained(plan, TrainedModel(plan.key, plan.seed, 0, 0.0, "none", checkpoint=None, failure=failure))


def unfinished(plans: Sequence[CoalitionPlan]) -> list[CoalitionPlan]:
    """Plans with something left to train or measure, each key once. A failed training counts as finished."""
    runs = open_workspace(settings()).runs
    trained = runs.coalitions(plan.key for plan in plans)
    measured = _measured(plans)

    def finished(plan: CoalitionPlan) -> bool:
        row = trained.get(plan.key)
        if row is None:
            return False
        return row.checkpoint is None or all(measure.key in measured for measure in plan.measures)

    return list({plan.key: plan for plan in plans if not finished(plan)}.values())


def made_here(plans: Sequence[CoalitionPlan]) -> dict[str, list[str]]:
    """Keys of the rows that this flow run recorded, by coalition; coalitions without such rows are left out."""
    rows = {
        plan.key: [plan.key, *(part.key for part in plan.parts), *(measure.key for measure in plan.measures)]
        for plan in plans
    }
    origins = open_workspace(settings()).lineage.origins([row for keys in rows.values() for row in keys])
    here = flow_run()
    recorded = {row for row, origin in origins.items() if here is not None and origin.flow_run == here}
    return {key: fresh for key, keys in rows.items() if (fresh := [row for row in keys if row in recorded])}


def side_by_side(pending: Sequence[CoalitionPlan], config: CreditConfig) -> int:
    """Number of coalitions in a process: fewer if each trains a large net, and no stack makes several faster.

    At the end, workers wait for those of one process. On this machine each worker has about four processes in turn,
    since one takes 0.4 s to start; on a cluster, whose workers are not counted, each coalition has its own.
    """
    own_nets = {plan.method for plan in pending} <= {"sparsified", "finetune", "retrain"}
    if not own_nets or config.generator.share_process:
        return SIDE_BY_SIDE
    if "://" in settings().runner:
        return 1
    return min(SIDE_BY_SIDE, math.ceil(len(pending) / (TASKS * settings().workers)))


def shares(pending: Sequence[CoalitionPlan], size: int) -> list[list[CoalitionPlan]]:
    """Divide plans into groups of a size, one for each process. A coalition without images trains nothing: not counted.

    Pooled coalitions are one group: they share the images of their parts, which a process samples once.
    """
    pooled = [plan for plan in pending if plan.method == "pooled" and plan.parts]
    trained = [plan for plan in pending if plan.providers and plan not in pooled]
    groups = [trained[start : start + size] for start in range(0, len(trained), size)]
    groups = [*groups, pooled] if pooled else groups or [[]]
    groups[0] += [plan for plan in pending if not plan.providers]
    return [group for group in groups if group]

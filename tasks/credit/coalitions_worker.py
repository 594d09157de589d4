"""What runs in a process of its own: the models of some coalitions, trained side by side and measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.generators.generator import Generator
from royalty.models.generators.retraining import Outcome, coalition_models
from royalty.models.properties.property import Property
from royalty.tasks.credit.plan import CoalitionPlan, MeasurePlan
from royalty.tasks.credit.training_worker import load_images, load_model, load_property
from royalty.tasks.stages.device import best_device, one_gpu


def measure_coalitions(
    plans: Sequence[CoalitionPlan], threads: int, flow_run: str | None, settings: Settings, advance: Advance
) -> None:
    """Train what has no checkpoint yet, measure what was not measured yet, and record both.

    Args:
        plans: of one start, method and training.
        threads: of the processor.
        flow_run: Prefect's id of the flow run that this is for.
    """
    torch.set_num_threads(threads)
    space = open_workspace(settings)
    with one_gpu(space.root / "locks"):
        trained = space.runs.coalitions(plan.key for plan in plans)
        fresh = _train(space, [plan for plan in plans if plan.key not in trained], flow_run, settings)
        measured = space.runs.measurements(measure.key for plan in plans for measure in plan.measures)
        property_of = cache(partial(load_property, space, settings=settings))
        for plan in plans:
            outcome = fresh.get(plan.key)
            checkpoint = trained[plan.key].checkpoint if outcome is None else None
            model = load_model(space, checkpoint, settings) if checkpoint else outcome and outcome.model
            if model:
                for measure in plan.measures:
                    if measure.key not in measured:
                        _measure(space, plan, measure, model, property_of, flow_run)
            advance(1)


def _train(
    space: Workspace, plans: Sequence[CoalitionPlan], flow_run: str | None, settings: Settings
) -> dict[str, Outcome]:
    """Train and record the models, by key of their plan."""
    if not plans:
        return {}
    data, first = load_images(space, plans[0].train), plans[0]
    masks = np.array([[name in plan.members for name in data.contributors] for plan in plans])
    start = load_model(space, first.start, settings)
    began = time.perf_counter()
    seeds = [plan.seed for plan in plans]
    try:
        outcomes = coalition_models(first.method, start, data, masks, first.training, seeds)
    except torch.OutOfMemoryError as full:
        raise MemoryError(f"the memory of {best_device()} was not enough: {full}") from full
    seconds = (time.perf_counter() - began) / len(plans)
    for plan, mask, outcome in zip(plans, masks, outcomes, strict=True):
        checkpoint = space.artifacts.put(outcome.model.to_bytes()) if outcome.model else None
        space.runs.record_coalition(
            CoalitionRecord(
                key=plan.key,
                members=list(plan.members),
                method=plan.method,
                seed=outcome.seed,
                items=len(data.of_coalition(mask)),
                train_seconds=seconds,
                device=best_device(),
                checkpoint=checkpoint,
                failure=outcome.failure,
            ),
            plan.edges(checkpoint),
            flow_run,
        )
    return {plan.key: outcome for plan, outcome in zip(plans, outcomes, strict=True)}


def _measure(
    space: Workspace,
    plan: CoalitionPlan,
    measure: MeasurePlan,
    model: Generator,
    property_of: Callable[..., Property],
    flow_run: str | None,
) -> None:
    began = time.perf_counter()
    images = model.sample(measure.images, seed=measure.draw, steps=measure.steps, scheduler=measure.scheduler)
    sampled = time.perf_counter()
    utility = property_of(measure.property, measure.judge, measure.reference).of(images)
    space.runs.record_measurement(
        MeasurementRecord(
            key=measure.key,
            coalition=plan.key,
            property=measure.property,
            draw=measure.draw,
            utility=utility,
            sample_seconds=sampled - began,
            measure_seconds=time.perf_counter() - sampled,
        ),
        measure.edges(plan.key),
        flow_run,
    )

"""Measure the utility of a coalition's model, in a worker. Imports no orchestration."""

from __future__ import annotations

import time
from functools import lru_cache

from royalty.models.generators.generator import Generator
from royalty.models.properties.property import Property
from royalty.tasks.credit.plan import CoalitionPlan, MeasuredUtility, MeasurePlan
from royalty.tasks.stages.context import Stores
from royalty.tasks.stages.loading import load_property


def measure_utility(plan: CoalitionPlan, measure: MeasurePlan, model: Generator, stores: Stores) -> MeasuredUtility:
    """Sample a coalition's model, and measure the property of its images."""
    began = time.perf_counter()
    images = model.sample(measure.images, seed=measure.draw, steps=measure.steps, scheduler=measure.scheduler)
    sampled = time.perf_counter()
    utility = _property(stores, measure.property, measure.judge, measure.reference).of(images)
    return MeasuredUtility(
        key=measure.key,
        coalition=plan.key,
        utility=float(utility),
        sample_seconds=sampled - began,
        measure_seconds=time.perf_counter() - sampled,
    )


@lru_cache(maxsize=4)
def _property(stores: Stores, written: str, judge: str, reference: str) -> Property:
    """A property, built once a process: all coalitions of a run have the same."""
    return load_property(stores, written, judge, reference)

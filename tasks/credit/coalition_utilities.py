"""Worker code: measure the utility of a coalition's model. Imports no orchestration."""

from __future__ import annotations

import time
from functools import lru_cache

from royalty.models.generators.generator import Generator
from royalty.models.properties.property import Property
from royalty.tasks.credit.plan import CoalitionPlan, MeasuredUtility, MeasurePlan
from royalty.tasks.stages.context import Stores
from royalty.tasks.stages.loading import load_property


def measure_utility(plan: CoalitionPlan, measure: MeasurePlan, model: Generator, stores: Stores) -> MeasuredUtility:
    """Sample images from a coalition's model, and measure their property."""
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
def _property(stores: Stores, name: str, judge: str, reference: str) -> Property:
    """Build a property once for each process: all coalitions of a run share it."""
    return load_property(stores, name, judge, reference)

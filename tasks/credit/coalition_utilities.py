"""Worker code: measure the utility of a coalition's model. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache

import numpy as np

from royalty.models.generators.generator import Sampler
from royalty.models.generators.mixture import Mixture
from royalty.models.properties.property import Property
from royalty.tasks.credit.plan import CoalitionPlan, MeasuredUtility, MeasurePlan
from royalty.tasks.stages.context import Stores
from royalty.tasks.stages.loading import load_model, load_property


def measure_utility(plan: CoalitionPlan, measure: MeasurePlan, model: Sampler, stores: Stores) -> MeasuredUtility:
    """Sample images from a coalition's model, and measure their property.

    The images of the parts of mixtures are sampled and read once in each process.
    """
    began = time.perf_counter()
    if isinstance(model, Mixture):
        shared = replace(measure, key="")
        rows = model.pick([_rows(stores, part, shared) for part in model.digests], seed=measure.draw)
        sampled = time.perf_counter()
        utility = _property(stores, measure.property, measure.judge, measure.reference).of_rows(rows)
        return MeasuredUtility(measure.key, plan.key, utility, sampled - began, time.perf_counter() - sampled)
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


@lru_cache(maxsize=1000)
def _rows(stores: Stores, part: str, measure: MeasurePlan) -> np.ndarray:
    """What the property reads of the images of a contributor's model."""
    images = load_model(stores, part).sample(
        measure.images, seed=measure.draw, steps=measure.steps, scheduler=measure.scheduler
    )
    return _property(stores, measure.property, measure.judge, measure.reference).read(images)


@lru_cache(maxsize=4)
def _property(stores: Stores, name: str, judge: str, reference: str) -> Property:
    """Build a property once for each process: all coalitions of a run share it."""
    return load_property(stores, name, judge, reference)

"""Sample coalitions of contributors, and measure each."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.keys import code_version, digest_of
from infra.processes import run_in_process
from infra.runstore import StageRecord
from infra.settings import settings
from infra.workspace import open_workspace
from models.valuation.coalitions import sample_coalitions
from tasks.config import CoalitionConfig, SamplingConfig
from tasks.plan import CoalitionPlan
from tasks.stage import WORKER


@task(cache_policy=NO_CACHE)
def draw_coalitions(data: StageRecord, config: CoalitionConfig, seed: int) -> list[tuple[str, ...]]:
    """Members of each sampled coalition, in pairs, then of the null and the grand one."""
    names = data.outputs["contributors"]
    masks = sample_coalitions(len(names), config.count, seed=seed)
    return [*(tuple(np.array(names)[mask].tolist()) for mask in masks), (), tuple(names)]


@task(cache_policy=NO_CACHE)
def plan_coalitions(
    coalitions: Sequence[tuple[str, ...]],
    data: StageRecord,
    pruned: StageRecord,
    classifier: StageRecord,
    config: CoalitionConfig,
    sampling: SamplingConfig,
    seed: int,
) -> list[CoalitionPlan]:
    """One plan a coalition. Its key covers its members' images, and others' only by the model it starts from."""
    digests = dict(zip(data.outputs["contributors"], data.outputs["contributor_digests"], strict=True))
    shared = {
        "pruned": pruned.outputs["model"],
        "classifier": classifier.outputs["classifier"],
        **config.model_dump(exclude={"count", "timeout_minutes"}),
        "images": sampling.images,
        "sampling_steps": sampling.steps,
        "seed": seed,
    }
    code = code_version(WORKER)
    plans = []
    for members in coalitions:
        key = digest_of({"members": {name: digests[name] for name in members}, "code": code, **shared})
        plans.append(CoalitionPlan(key=key, members=members, train=data.outputs["train"], threads=_threads(), **shared))
    return plans


@task(cache_policy=NO_CACHE, retries=1, task_run_name="coalition-{plan.key}")
def measure_coalition(plan: CoalitionPlan, timeout_minutes: float) -> str:
    """Measure one coalition in a process of its own; returns the key of its row."""
    if plan.key in open_workspace(settings()).runs.coalitions([plan.key]):
        return plan.key
    return str(
        run_in_process(f"{WORKER}.measure", plan, settings(), advance=_no_progress, timeout=60 * timeout_minutes)
    )


def unfinished(plans: Sequence[CoalitionPlan]) -> list[CoalitionPlan]:
    """The plans without a row in the run store, each key once."""
    finished = open_workspace(settings()).runs.coalitions(plan.key for plan in plans)
    return list({plan.key: plan for plan in plans if plan.key not in finished}.values())


def _threads() -> int:
    """Processor threads of one coalition, so that all workers together use each core once."""
    return max(1, (os.cpu_count() or 1) // settings().workers)


def _no_progress(_steps: int) -> None:
    """A coalition is one step of the fan-out's progress; its own steps are not shown."""

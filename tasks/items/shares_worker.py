"""Worker code: solve, value and join the shares of SAVA. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from royalty.models.valuation.batches import BatchTransport, Plan, Share, Valued, open_share
from royalty.models.valuation.sava import combine_shares, join, join_as_published, solve_share, value_share
from royalty.tasks.config.values import ValueSettings
from royalty.tasks.items.sides import keep_values, open_sides
from royalty.tasks.items.stages import (
    AgreeInputs,
    AgreeOutputs,
    ShareValueInputs,
    ShareValueOutputs,
    SolveInputs,
    SolveOutputs,
    ValueInputs,
    ValueOutputs,
)
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device, one_gpu


def solve(inputs: SolveInputs, context: StageContext) -> SolveOutputs:
    """Solve the optimal transports of one share."""
    torch.set_num_threads(context.threads)
    began, artifacts = time.perf_counter(), context.artifacts
    common = Plan.from_bytes(artifacts.get(inputs.ground))
    with one_gpu(context.locks):
        share = solve_share(common, open_share(artifacts.verified(inputs.batches)), torch.device(best_device()))
    return SolveOutputs(artifacts.put(share.to_bytes()), time.perf_counter() - began)


def agree_on(inputs: AgreeInputs, context: StageContext) -> AgreeOutputs:
    """Solve the optimal transport between batches of both sides, and average the potentials."""
    artifacts = context.artifacts
    solved = [Share.from_bytes(artifacts.get(share)) for share in inputs.shares]
    agreed = combine_shares(Plan.from_bytes(artifacts.get(inputs.plan)), solved)
    context.advance(1)
    return AgreeOutputs(artifacts.put(agreed.to_bytes()))


def value(inputs: ShareValueInputs, context: StageContext) -> ShareValueOutputs:
    """Value the items of one share."""
    torch.set_num_threads(context.threads)
    began, artifacts = time.perf_counter(), context.artifacts
    common = Plan.from_bytes(artifacts.get(inputs.ground))
    agreed = BatchTransport.from_bytes(artifacts.get(inputs.agreement))
    batches = open_share(artifacts.verified(inputs.batches))
    with one_gpu(context.locks):
        valued = value_share(common, agreed, batches, inputs.first, torch.device(best_device()))
    return ShareValueOutputs(artifacts.put(valued.to_bytes()), time.perf_counter() - began)


def join_shares(inputs: ValueInputs, context: StageContext) -> ValueOutputs:
    """Join the values of all shares."""
    if inputs.plan is None or inputs.agreement is None or inputs.shares is None:
        raise ValueError("joining needs the digests of the plan, the agreement and the shares; one of them is missing")
    began, artifacts = time.perf_counter(), context.artifacts
    plan = Plan.from_bytes(artifacts.get(inputs.plan))
    agreed = BatchTransport.from_bytes(artifacts.get(inputs.agreement))
    shares = (artifacts.get(share) for share in inputs.shares)
    if plan.form == "paper":
        values = join_as_published(plan, agreed, map(Share.from_bytes, shares))
    else:
        values = join(plan, agreed, [Valued.from_bytes(share) for share in shares])
    values = replace(values, diagnostics={**values.diagnostics, "batches_kept": inputs.kept})
    sides = open_sides(artifacts, inputs.sides, unseen_label=ValueSettings.model_validate(inputs.config).unseen_label)
    context.advance(1)
    return keep_values(artifacts, sides, values, time.perf_counter() - began, by_transport=True)

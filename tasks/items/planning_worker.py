"""Worker code: divide the work of SAVA into shares. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.infra.stores.keys import digest_of
from royalty.models.base.checks import check_unseen
from royalty.models.valuation.batches import Plan, extend_plan, plan_values, share_pieces
from royalty.tasks.config.values import ValueSettings
from royalty.tasks.items.features import represented
from royalty.tasks.items.sides import OpenSides, open_sides
from royalty.tasks.items.stages import PlanInputs, PlanOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def plan(inputs: PlanInputs, context: StageContext) -> PlanOutputs:
    """Compute the label distances, divide the work into shares, and store the items of each share."""
    torch.set_num_threads(cores())
    start, artifacts = time.perf_counter(), context.artifacts
    settings = ValueSettings.model_validate(inputs.config)
    sides = open_sides(artifacts, inputs.sides, unseen_label=settings.unseen_label)
    train, val = represented(context.embeddings, sides, settings.encoding.representation, inputs.sides.encoder)
    if inputs.kept.plan:
        planned, unchanged = _extended(artifacts, settings, inputs, sides)
    else:
        options, device = settings.valuing.options, torch.device(best_device())
        planned = plan_values((train, sides.train_labels), (val, sides.val_labels), options, settings.batching, device)
        planned = replace(planned, form=settings.valuing.form)
        unchanged = 0
    names = sides.names
    shares = [digest_of([[names[row] for row in batch] for batch in share]) for share in planned.shares]
    # An unchanged share keeps its stored items, and so the key of its transports. Features that were computed again, in
    # a batch with other items, may differ in the last digit.
    parts = dict(zip(inputs.kept.shares, inputs.kept.parts, strict=False)) if unchanged else {}
    for name, share in zip(shares, planned.shares, strict=True):
        if name not in parts:
            parts[name] = artifacts.put_pieces(share_pieces((train, sides.train_labels), share))
    context.advance(1)
    return PlanOutputs(
        plan=artifacts.put(planned.to_bytes()),
        ground=artifacts.put(planned.common().to_bytes()),
        shares=shares,
        parts=[parts[name] for name in shares],
        batches=[len(share) for share in planned.shares],
        kept=sum(map(len, planned.shares[:unchanged])),
        busy_seconds=time.perf_counter() - start,
    )


def _extended(
    artifacts: ArtifactStore, settings: ValueSettings, inputs: PlanInputs, sides: OpenSides
) -> tuple[Plan, int]:
    """The earlier plan, extended to the present training items, and the number of unchanged shares, which are first."""
    earlier_sides = open_sides(
        artifacts, replace(inputs.sides, train=inputs.kept.train), unseen_label=settings.unseen_label
    )
    earlier_plan = Plan.from_bytes(artifacts.get(inputs.kept.plan))
    if sides.train_labels is not None and earlier_plan.ground.labels is not None:
        check_unseen(sides.train_labels, np.asarray(earlier_plan.ground.labels))
    return extend_plan(earlier_plan, earlier_sides.names, sides.names, sides.train_labels, settings.batching)

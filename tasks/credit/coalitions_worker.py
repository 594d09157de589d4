"""Worker code: train the models of several coalitions together, and measure each.

Models are stored here. Results are reported one by one to the parent process, which records them. Imports no
orchestration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch

from royalty.models.generators.generator import Sampler
from royalty.models.generators.retraining import Outcome
from royalty.tasks.credit.coalition_models import train_models
from royalty.tasks.credit.coalition_utilities import measure_utility
from royalty.tasks.credit.plan import CoalitionPlan, MeasuredUtility, TrainedModel
from royalty.tasks.stages.context import Stores
from royalty.tasks.stages.device import one_gpu
from royalty.tasks.stages.loading import load_sampler

Reporter = Callable[[TrainedModel | MeasuredUtility | None], object]
"""Receives each result, and None when all planned work of a coalition is done."""


def measure_coalitions(
    plans: Sequence[CoalitionPlan],
    checkpoints: Mapping[str, str | None],
    measured: Collection[str],
    stores: Stores,
    report: Reporter,
) -> None:
    """Train the coalitions without a checkpoint, and take the measurements that are missing.

    Args:
        plans: plans with the same starting model, method and training.
        checkpoints: digests of coalitions that were trained earlier, by key, and of their parts; None if that training
            failed.
        measured: keys of the measurements that exist.
    """
    torch.set_num_threads(stores.threads)
    with one_gpu(stores.locks):
        pending = [plan for plan in plans if plan.key not in checkpoints]
        outcomes = train_models(pending, checkpoints, stores, report)
        for plan in plans:
            unmeasured = [measure for measure in plan.measures if measure.key not in measured]
            model = _model(stores, plan, checkpoints, outcomes) if unmeasured else None
            if model is not None:
                for measure in unmeasured:
                    report(measure_utility(plan, measure, model, stores))
            report(None)


def _model(
    stores: Stores, plan: CoalitionPlan, checkpoints: Mapping[str, str | None], outcomes: Mapping[str, Outcome]
) -> Sampler | None:
    """Return the model of a coalition, just trained or loaded from its checkpoint; None if training failed."""
    if plan.key in outcomes:
        return outcomes[plan.key].model
    checkpoint = checkpoints[plan.key]
    return None if checkpoint is None else load_sampler(stores, checkpoint)

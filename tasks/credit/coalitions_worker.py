"""What runs in a process of its own: the models of some coalitions, trained side by side and measured.

It keeps models, and reports what is finished row by row to the process that started it, which records it. Imports no
orchestration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch

from royalty.models.generators.generator import Generator
from royalty.models.generators.retraining import Outcome
from royalty.tasks.credit.coalition_models import train_models
from royalty.tasks.credit.coalition_utilities import measure_utility
from royalty.tasks.credit.plan import CoalitionPlan, MeasuredUtility, TrainedModel
from royalty.tasks.stages.context import Stores
from royalty.tasks.stages.device import one_gpu
from royalty.tasks.stages.loading import load_model

Reporter = Callable[[TrainedModel | MeasuredUtility | None], object]
"""Takes what is finished; None once a coalition has all it was planned."""


def measure_coalitions(
    plans: Sequence[CoalitionPlan],
    checkpoints: Mapping[str, str | None],
    measured: Collection[str],
    stores: Stores,
    report: Reporter,
) -> None:
    """Train what has no checkpoint yet, and measure what was not measured yet.

    Args:
        plans: of one start, method and training.
        checkpoints: of the coalitions that were trained before, by key; None of one whose training failed.
        measured: keys of the measurements that are there.
    """
    torch.set_num_threads(stores.threads)
    with one_gpu(stores.locks):
        outcomes = train_models([plan for plan in plans if plan.key not in checkpoints], stores, report)
        for plan in plans:
            pending = [measure for measure in plan.measures if measure.key not in measured]
            model = _model(stores, plan, checkpoints, outcomes) if pending else None
            if model is not None:
                for measure in pending:
                    report(measure_utility(plan, measure, model, stores))
            report(None)


def _model(
    stores: Stores, plan: CoalitionPlan, checkpoints: Mapping[str, str | None], outcomes: Mapping[str, Outcome]
) -> Generator | None:
    """The model of a coalition, as it was just trained, or else from its checkpoint; None if training failed."""
    if plan.key in outcomes:
        return outcomes[plan.key].model
    checkpoint = checkpoints[plan.key]
    return None if checkpoint is None else load_model(stores, checkpoint)

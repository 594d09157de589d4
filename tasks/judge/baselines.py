"""Attribute what the base model makes to contributors, by the paper's baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.models.generators.kinds import module_of
from royalty.models.properties.registry import chosen_property
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.stages import Classified, Ingested, Trained
from royalty.tasks.judge.stages import ATTRIBUTE, Attributed, AttributeInputs, Gradients
from royalty.tasks.stages.running import run_in_worker

if TYPE_CHECKING:
    from royalty.tasks.judge import baselines_worker as worker
else:
    worker = Deferred("royalty.tasks.judge.baselines_worker")

PARTS = 7
"""Steps of its progress."""


@task(cache_policy=NO_CACHE)
def attribute(data: Ingested, base: Trained, classifier: Classified, config: CreditConfig) -> Attributed:
    """Scores of contributors by each baseline of the paper."""
    inputs = AttributeInputs(
        train=data.outputs.train,
        base=base.outputs.model,
        classifier=classifier.outputs.classifier,
        reference=classifier.inputs.images,
        property=config.property,
        sampling=config.sampling.model_dump(exclude={"draws", "stderr"}),
        gradients=Gradients(**config.evaluation.gradients.model_dump()),
        seed=config.seed,
    )
    also = module_of(base.inputs.kind), *chosen_property(config.property).modules
    return run_in_worker(ATTRIBUTE, inputs, worker.attribute, also=also, title="Baselines", total=PARTS)

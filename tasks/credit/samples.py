"""Images by everybody's and nobody's model: what the property is measured on at both ends of the game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.generators.kinds import module_of
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import SAMPLES, Classified, Ingested, Sampled, SampleInputs
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.credit import samples_worker
else:
    samples_worker = Deferred("royalty.tasks.credit.samples_worker")

IMAGES = 16
READ = 480
"""Images of a conditional generator, or a few less, that the classifier reads."""


@task(name="sample models of nobody and everybody", cache_policy=NO_CACHE, tags=["gpu"])
def sample_ends(data: Ingested, judge: Classified, plans: Sequence[CoalitionPlan], config: CreditConfig) -> Sampled:
    """Sample the models of the null and the grand coalition, from the noise that the base model was sampled from.

    A conditional generator makes equally many images of each label, which the classifier reads.
    """
    ends = {"nobody": 0, "everybody": len(data.outputs.players)}
    keys = {name: [plan.key for plan in plans if len(plan.members) == size] for name, size in ends.items()}
    rows = open_workspace(settings()).runs.coalitions(key for group in keys.values() for key in group)
    checkpoints = {name: [rows[key].checkpoint for key in group if key in rows] for name, group in keys.items()}
    models = {name: next(filter(None, digests)) for name, digests in checkpoints.items()}  # credit needs both
    return _sample(models, data, judge, config)


@task(name="sample models", cache_policy=NO_CACHE, tags=["gpu"])
def sample_models(models: Mapping[str, str], data: Ingested, judge: Classified, config: CreditConfig) -> Sampled:
    """Sample models from the same noise; see `sample_ends`.

    Args:
        models: digests by name.
    """
    return _sample(models, data, judge, config)


def _sample(models: Mapping[str, str], data: Ingested, judge: Classified, config: CreditConfig) -> Sampled:
    labels = len(data.outputs.label_names) if config.generator.needs_labels else 0
    inputs = SampleInputs(
        models=models,
        images=max(1, READ // labels) * labels if labels else IMAGES,
        sampling=config.sampling.model_dump(include={"steps", "scheduler"}),
        seed=config.seed,
        classes=labels,
        classifier=judge.outputs.classifier if labels else "",
    )
    return run_in_worker(
        SAMPLES,
        inputs,
        samples_worker.sample_models,
        title="Sample models",
        total=len(inputs.models),
        also=(module_of(config.generator.kind),),
    )

"""Match generated images with training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.generators.kinds import module_of
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.matching import Matching
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.items.stages import MATCH, ItemsOutputs, Matched, MatchInputs
from royalty.tasks.stages.running import run_in_worker

if TYPE_CHECKING:
    from royalty.tasks.items import gmvaluator_worker, grand_model_worker
else:
    gmvaluator_worker = Deferred("royalty.tasks.items.gmvaluator_worker")
    grand_model_worker = Deferred("royalty.tasks.items.grand_model_worker")


@task(cache_policy=NO_CACHE)
def match_grand_model(data: Ingested, plans: Sequence[CoalitionPlan], config: CreditConfig) -> Matched:
    """Values of the training images by the images that everybody's model makes."""
    everybody = [plan.key for plan in plans if len(plan.members) == len(data.outputs.contributors)]
    trained = open_workspace(settings()).runs.coalitions(everybody)
    model = next(trained[key].checkpoint for key in everybody if trained[key].checkpoint)  # without one, no credit
    inputs = MatchInputs(
        data.outputs.train,
        config.matching,
        model=model,
        images=config.matching.images,
        sampling=config.sampling.model_dump(include={"steps", "scheduler"}),
        seed=config.seed,
    )
    return run_in_worker(
        MATCH,
        inputs,
        grand_model_worker.match_model,
        title="Match images",
        total=config.matching.images,
        also=(module_of(config.generator.kind),),
    )


@task(cache_policy=NO_CACHE)
def match(train: ItemsOutputs, generated: ItemsOutputs, encoder: str, matching: Matching) -> Matched:
    """Values of training items by generated ones.

    Args:
        encoder: key of the embeddings of both sides; "" where items are features.
    """
    inputs = MatchInputs(train.items, matching, generated=generated.items, encoder=encoder)
    return run_in_worker(MATCH, inputs, gmvaluator_worker.match, title="Match images", total=generated.count)

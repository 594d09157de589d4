"""Add to criteria: images of one class, the quality of images, distances by attributes, and random subsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.tasks.benchmarks.contributor_stages import (
    DISTANCES,
    IF4GAN,
    OF_CLASS,
    POOR,
    SPOIL,
    DistancesInputs,
    DistancesJudged,
    InfluenceInputs,
    OfClassInputs,
    PoorInputs,
    PoorJudged,
    Spoiled,
    SpoilInputs,
)
from royalty.tasks.benchmarks.criterion_stages import AttributesJudged, Judged
from royalty.tasks.benchmarks.generator_stages import Generator, Planted
from royalty.tasks.benchmarks.subset_stages import SUBSETS, SubsetsInputs, SubsetsJudged
from royalty.tasks.config.criteria_settings import CriteriaSettings
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.benchmarks import contributors_worker, influence_worker, subsets_worker
else:
    contributors_worker = Deferred("royalty.tasks.benchmarks.contributors_worker")
    influence_worker = Deferred("royalty.tasks.benchmarks.influence_worker")
    subsets_worker = Deferred("royalty.tasks.benchmarks.subsets_worker")


@task(name="images of a class", cache_policy=NO_CACHE)
def of_class(images: ItemsOutputs, label: str) -> ItemsOutputs:
    """The images of one class; fewer than two are an error."""
    return run_in_worker(OF_CLASS, OfClassInputs(images.items, label), contributors_worker.of_class).outputs


@task(name="spoil images", cache_policy=NO_CACHE)
def spoil(made: ItemsOutputs, share: float, early: ItemsOutputs | None, config: CriteriaSettings) -> Spoiled:
    """Make a fraction of generated images poor.

    Args:
        early: images of an early generator that take their places; None adds noise.
    """
    inputs = SpoilInputs(made.items, share, early.items if early else "", config.seed)
    return run_in_worker(SPOIL, inputs, contributors_worker.spoil_images)


@task(name="trace training (IF4GAN)", cache_policy=NO_CACHE)
def influence(items: ItemsOutputs, made: ItemsOutputs, trained: Generator, config: CriteriaSettings) -> Judged:
    """Value training items by IF4GAN for images of a DCGAN."""
    if config.if4gan is None:
        raise ValueError("IF4GAN needs the settings `if4gan`, and this evaluation has none; set `if4gan`")
    model = trained.outputs.models[-1]
    inputs = InfluenceInputs(items.items, model, config.if4gan, made.count, config.seed)
    steps = config.if4gan.epochs * -(-items.count // config.if4gan.batch_size)
    traced = run_in_worker(IF4GAN, inputs, influence_worker.trace_gan, title="IF4GAN", total=2 * steps)
    return Judged(trained.inputs.generator, "if4gan", made.items, traced.outputs.table, "", "")


@task(name="judge poor images", cache_policy=NO_CACHE)
def judge_poor(judged: Sequence[Judged], poor: Mapping[str, list[int]], noisy: Planted) -> PoorJudged:
    """Fig. 9: rank images with planted noise with and without the quality of generated images."""
    inputs = PoorInputs(list(judged), poor, noisy.outputs.planted, noisy.outputs.count)
    return run_in_worker(
        POOR, inputs, contributors_worker.judge_poor, title="Judge poor images", total=len(inputs.judged)
    )


@task(name="judge distances", cache_policy=NO_CACHE)
def judge_distances(judged: AttributesJudged, config: CriteriaSettings) -> DistancesJudged:
    """Theorem 2.4: compare contributors and generated images by the distribution of attributes."""
    inputs = DistancesInputs(judged.inputs, config.seed)
    return run_in_worker(
        DISTANCES,
        inputs,
        contributors_worker.judge_distances,
        title="Judge distances",
        total=len(judged.inputs.judged),
    )


@task(name="judge subsets", cache_policy=NO_CACHE)
def judge_subsets(
    items: ItemsOutputs,
    made: ItemsOutputs,
    values: Mapping[str, str],
    models: Sequence[Sequence[str]],
    config: CriteriaSettings,
) -> SubsetsJudged:
    """Compare the values of the items in random subsets with the losses of generated images by models of these.

    Args:
        values: digests of the contributions to the generated images, by method.
        models: digests of the generators of each subset, one for each seed of training.
    """
    trained = [list(of_subset) for of_subset in models]
    seeds = list(config.subset_seeds)
    inputs = SubsetsInputs(made.items, values, items.count, config.kept, seeds, trained, config.seed)
    return run_in_worker(SUBSETS, inputs, subsets_worker.judge_subsets, title="Judge subsets", total=len(values))

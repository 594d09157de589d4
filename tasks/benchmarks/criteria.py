"""Judge values by the criteria of the GMValuator paper: one stage for each criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.models.base.registry import modules_of
from royalty.tasks.benchmarks.criterion_stages import (
    ATTRIBUTES,
    CAUSES,
    EFFICIENCY,
    IDENTITY,
    MEMBERSHIP,
    OUTLIERS,
    REMOVE,
    TRACIN,
    AttributesInputs,
    AttributesJudged,
    CausesInputs,
    CausesJudged,
    EfficiencyInputs,
    EfficiencyJudged,
    IdentityInputs,
    IdentityJudged,
    Judged,
    MembershipInputs,
    MembershipJudged,
    OutliersInputs,
    OutliersJudged,
    RemoveInputs,
    TimedGAN,
    TracInInputs,
)
from royalty.tasks.benchmarks.generator_stages import Generator, Halved, Planted
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.config.criteria_settings import CriteriaSettings
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.benchmarks import causes_worker, criteria_worker, efficiency_worker, tracin_worker
else:
    causes_worker = Deferred("royalty.tasks.benchmarks.causes_worker")
    criteria_worker = Deferred("royalty.tasks.benchmarks.criteria_worker")
    efficiency_worker = Deferred("royalty.tasks.benchmarks.efficiency_worker")
    tracin_worker = Deferred("royalty.tasks.benchmarks.tracin_worker")


@task(name="trace training (VAE-TracIn)", cache_policy=NO_CACHE)
def trace(
    items: ItemsOutputs, made: ItemsOutputs, trained: Generator, config: CriteriaConfig, k: int | None = None
) -> str:
    """Score training items by VAE-TracIn for images of a beta-VAE; returns the digest of the contributions.

    Args:
        k: number of items of highest score that contribute to an image; None: the largest of `ks`.
    """
    if config.tracin is None:
        raise ValueError("VAE-TracIn needs the settings `tracin`, and this evaluation has none; set `tracin`")
    models = trained.outputs.models
    inputs = TracInInputs(items.items, made.items, models, config.tracin, k or max(config.ks), config.seed)
    total = items.count * len(models)
    return run_in_worker(TRACIN, inputs, tracin_worker.trace, title="VAE-TracIn", total=total).outputs.contributions


@task(name="remove items", cache_policy=NO_CACHE)
def remove(
    items: ItemsOutputs, contributions: str, seed: int, config: CriteriaConfig, image: int | None = None
) -> ItemsOutputs:
    """All items but those of highest contributions; "" removes as many random ones, drawn by the seed.

    Args:
        image: position of a generated image: all items but those that contribute to it.
    """
    inputs = RemoveInputs(items.items, contributions, config.removed, 0 if contributions else seed, image)
    return run_in_worker(REMOVE, inputs, causes_worker.remove).outputs


@task(name="judge causes", cache_policy=NO_CACHE)
def judge_causes(
    made: ItemsOutputs, models: Mapping[str, list[str]], single: Mapping[str, list[list[str]]]
) -> CausesJudged:
    """Compare the losses of generated images without the most valuable items, and without random ones.

    Args:
        models: digests of the generators by method, one for each seed.
        single: those without the items behind the first images, by method; a list for each seed.
    """
    inputs = CausesInputs(made.items, models, single)
    return run_in_worker(CAUSES, inputs, causes_worker.judge_causes, title="Judge causes")


@task(name="judge identity", cache_policy=NO_CACHE)
def judge_identity(judged: Sequence[Judged], items: ItemsOutputs, config: CriteriaSettings) -> IdentityJudged:
    """C1: compare the classes of generated images with those of their most valuable items."""
    inputs = IdentityInputs(list(judged), items.items, list(config.ks), config.seed, config.label)
    return run_in_worker(
        IDENTITY, inputs, criteria_worker.judge_identity, title="Judge identity", total=len(inputs.judged)
    )


@task(name="judge attributes", cache_policy=NO_CACHE)
def judge_attributes(judged: Sequence[Judged], items: ItemsOutputs, config: CriteriaConfig) -> AttributesJudged:
    """C2: compare the attributes of generated images with those of their most valuable items."""
    attributes = {name: list(labels) for name, labels in config.attributes.items()}
    inputs = AttributesInputs(list(judged), items.items, attributes)
    return run_in_worker(
        ATTRIBUTES, inputs, criteria_worker.judge_attributes, title="Judge attributes", total=len(inputs.judged)
    )


@task(name="judge membership", cache_policy=NO_CACHE)
def judge_membership(judged: Sequence[Judged], halves: Halved) -> MembershipJudged:
    """Table 6: compare the values of a trained and a held-out half of a class."""
    outputs = halves.outputs
    inputs = MembershipInputs(list(judged), outputs.trained, outputs.held_out, halves.inputs.split)
    return run_in_worker(
        MEMBERSHIP, inputs, criteria_worker.judge_membership, title="Judge membership", total=len(inputs.judged)
    )


@task(name="judge outliers", cache_policy=NO_CACHE)
def judge_outliers(judged: Sequence[Judged], noisy: Planted) -> OutliersJudged:
    """C3: rank images with planted noise by value."""
    inputs = OutliersInputs(list(judged), noisy.outputs.planted)
    return run_in_worker(
        OUTLIERS, inputs, criteria_worker.judge_outliers, title="Judge outliers", total=len(inputs.judged)
    )


@task(name="time methods", cache_policy=NO_CACHE)
def time_methods(
    config: CriteriaSettings,
    items: ItemsOutputs,
    made: ItemsOutputs,
    trained: Generator,
    gan: tuple[ItemsOutputs, Generator] | None,
) -> EfficiencyJudged:
    """C4: time each method for a generated image, in one process.

    Args:
        made, trained: images of a beta-VAE, and the beta-VAE.
        gan: images of a DCGAN, and the DCGAN, for which IF4GAN is timed; None: it is not.
    """
    timed = None
    if gan and config.if4gan:
        timed = TimedGAN(gan[1].outputs.models[-1], gan[0].items, config.if4gan)
    total = len(config.rerank) * (2 if timed else 1) + (2 if config.tracin else 0) + (2 if timed else 0)
    inputs = EfficiencyInputs(config.methods, config.seed, (items.items, made.items, trained.outputs.models), timed)
    return run_in_worker(
        EFFICIENCY,
        inputs,
        efficiency_worker.time_methods,
        title="Time methods",
        total=total,
        also=modules_of(config.entries),
    )

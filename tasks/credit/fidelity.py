"""Retrain some coalitions in full, and compare their models with the cheap ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.base.registry import modules_of
from royalty.models.generators.kinds import module_of
from royalty.models.valuation.coalitions import masks_of
from royalty.models.valuation.multifidelity import choose_retrained, least_retrained
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.grouping import Grouped, representatives
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import FIDELITY, Classified, Fidelity, FidelityInputs, FidelityOutputs, Ingested, Pair
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.credit import fidelity_worker
else:
    fidelity_worker = Deferred("royalty.tasks.credit.fidelity_worker")


def coalitions_to_retrain(
    plans: Sequence[CoalitionPlan], players: Sequence[str], config: CreditConfig, grouped: Grouped | None = None
) -> list[Members]:
    """Members of everybody, nobody, and some of the measured coalitions, drawn at random."""
    measured = list(dict.fromkeys(plan.members for plan in plans if 0 < len(plan.members) < len(players)))
    rows = choose_retrained(
        masks_of(measured, representatives(players, grouped)), config.fidelity.retrain, seed=config.seed
    )
    return [tuple(players), (), *(measured[row] for row in rows)]


@task(name="compare with retrained models", cache_policy=NO_CACHE, tags=["gpu"])
def compare_with_retrained(
    data: Ingested,
    judge: Classified,
    cheap: Sequence[CoalitionPlan],
    retrained: Sequence[CoalitionPlan],
    config: CreditConfig,
) -> Fidelity:
    """Compare utilities and images of coalitions that have a cheap and a retrained model.

    Raises:
        InputError: so many trainings failed that fewer coalitions than a correction takes are left.
    """
    pairs = list(_pairs(open_workspace(settings()), cheap, retrained, len(data.outputs.players)))
    if len(pairs) < (least := least_retrained(config.coalitions.players(len(data.outputs.players)))):
        raise InputError(
            f"a correction takes at least {least} coalitions with a cheap and a retrained model, and {len(pairs)} of "
            f"{config.fidelity.retrain} trained without failing; raise `fidelity.retrain`, or lower the learning rates"
        )
    inputs = FidelityInputs(
        pairs=pairs,
        train=data.outputs.train,
        classifier=judge.outputs.classifier,
        encoder=config.matching.encoder,
        images=config.sampling.images,
        sampling=config.sampling.model_dump(include={"steps", "scheduler"}),
        seed=config.seed,
    )
    return run_in_worker(
        FIDELITY,
        inputs,
        fidelity_worker.compare_models,
        title="Compare with retrained models",
        total=len(pairs),
        also=(module_of(config.generator.kind), *modules_of(config.matching.entries)),
    )


def _pairs(
    space: Workspace, cheap: Sequence[CoalitionPlan], retrained: Sequence[CoalitionPlan], players: int
) -> Iterator[Pair]:
    """Coalitions with models and measurements of both kinds."""
    by_members = {plan.members: plan for plan in reversed(cheap)}
    both = [(by_members[plan.members], plan) for plan in retrained if 0 < len(plan.members) < players]
    models = space.runs.coalitions(plan.key for pair in both for plan in pair)
    rows = space.runs.measurements(measure.key for pair in both for plan in pair for measure in plan.measures)

    def utility(plan: CoalitionPlan) -> float:
        return float(np.mean([rows[measure.key].utility for measure in plan.measures]))

    for first, second in both:
        digests = models[first.key].checkpoint, models[second.key].checkpoint
        if digests[0] and digests[1]:
            yield Pair(list(second.providers), digests[0], digests[1], utility(first), utility(second))


def fidelity_sentence(found: FidelityOutputs) -> str:
    """How cheap models agree with retrained ones, for the report."""
    ranks = (
        "have no rank correlation, because those of one kind or both do not vary"
        if found.spearman is None
        else f"rank coalitions alike with a correlation of {found.spearman:.2f}"
    )
    leaks = ""
    if found.leak_cheap is not None and found.leak_retrained is not None:
        leaks = (
            f" {found.leak_cheap:.1%} of the images of cheap models show labels that no member of the coalition has, "
            f"and {found.leak_retrained:.1%} of those of retrained models."
        )
    return (
        f"{found.coalitions} coalitions were also retrained in full. Cheap and retrained utilities {ranks}; cheap ones "
        f"are off by {found.bias:+.3g} on average, and by {found.error:.3g} about that, where retrained ones spread by "
        f"{found.spread:.3g}. The FID of a cheap to a retrained model is {found.fid:.3g} on average.{leaks} Credit is "
        "corrected: Shapley values of the cheap utilities, plus those of the differences."
    )

"""Compare settings of cheap models by their agreement with retrained ones, and publish the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.generators.training import Method
from royalty.models.judging.fidelity import agreement
from royalty.models.judging.tuning import LEAST, compare_cheap
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.multifidelity import choose_retrained
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.counts import check_counterfactual, is_paired
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.judge.utilities import mean_utilities, seconds_of
from royalty.tasks.stages.publishing import Contents, Published, PublishInputs, PublishOutputs, PublishStage, publish
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import Finished, Stage, TableRow
from royalty.tasks.stages.task import task

TUNED: tuple[Method, ...] = ("sparsified", "finetune", "mirrored")
"""Methods that train a model for each coalition by the settings that are compared."""


@dataclass(frozen=True)
class Candidate:
    """A combination of settings: those of `TuningConfig`."""

    finetune_steps: int
    ratio: float
    images: int
    steps: int

    def of(self, config: CreditConfig) -> CreditConfig:
        """A configuration with these settings."""
        return config.model_copy(
            update={
                "coalitions": config.coalitions.model_copy(update={"finetune_steps": self.finetune_steps}),
                "pruning": config.pruning.model_copy(update={"ratio": self.ratio}),
                "sampling": config.sampling.model_copy(update={"images": self.images, "steps": self.steps}),
            }
        )


def candidates(config: CreditConfig) -> list[Candidate]:
    """All combinations, without repetitions; those that share a pruned model and trainings follow each other."""
    tuning, trained, asked = config.tuning, config.coalitions.finetune_steps, config.sampling.images
    ratios = tuning.ratio or (config.pruning.ratio,)
    steps = tuning.finetune_steps or (-(-trained // 2), trained, 3 * trained)
    images = tuning.images or (max(16, asked // 4), max(16, asked // 2), asked)
    sampled = tuning.steps or (config.sampling.steps,)
    combined = product(sorted(set(ratios)), sorted(set(steps)), sorted(set(images)), sorted(set(sampled)))
    return [
        Candidate(finetune_steps=trained, ratio=ratio, images=count, steps=passes)
        for ratio, trained, count, passes in combined
    ]


def finest(config: CreditConfig) -> CreditConfig:
    """The configuration by which retrained models are measured: most images and sampling steps of all candidates."""
    every = candidates(config)
    first = replace(every[0], images=max(each.images for each in every), steps=max(each.steps for each in every))
    return first.of(config)


def check_tuning(names: Sequence[str], config: CreditConfig) -> None:
    """Check a run of this configuration, and that its method has the settings that are compared.

    Raises:
        InputError: the setting, what it is, and what it may be.
    """
    check_counterfactual(names, config)
    method = config.coalitions.method
    if method not in TUNED:
        raise InputError(
            f"`coalitions.method`: settings of the methods {', '.join(TUNED)} are compared; got {method}. Set one of "
            "these"
        )
    if method == "finetune" and config.tuning.ratio:
        raise InputError(
            f"`tuning.ratio`: `finetune` starts from the model that is not pruned; got {list(config.tuning.ratio)}. "
            "Leave it out, or take `sparsified`"
        )
    if config.sampling.stderr is not None:
        raise InputError(
            "`sampling.stderr`: it decides the number of images, which is compared here; got "
            f"{config.sampling.stderr}. Leave it out"
        )
    if config.tuning.retrain > config.coalitions.count:
        raise InputError(
            f"`tuning.retrain` is at most `coalitions.count`, which is {config.coalitions.count}; got "
            f"{config.tuning.retrain}. Lower it"
        )
    count, players = config.coalitions.count, len(names)
    drawn = sample_coalitions(
        players, count, seed=config.seed, sizes=config.coalitions.sizes, paired=is_paired(players, count)
    )
    try:
        choose_retrained(drawn, config.tuning.retrain, seed=config.seed)
    except InputError as error:
        raise InputError(f"`tuning.retrain`: {error}") from None


@dataclass(frozen=True)
class TuneInputs:
    """What is compared.

    Attributes:
        retrained: keys of the measurements of retrained models.
        cheap: settings of each candidate, and keys of the measurements of its models.
    """

    retrained: list[str]
    cheap: list[tuple[Candidate, list[str]]]


@dataclass(frozen=True)
class TuneOutputs:
    """The table: one row for each candidate.

    Attributes:
        coalitions: number that all candidates and retraining have a model of.
    """

    rows: list[TableRow]
    coalitions: int


TUNE = Stage("tune", TuneInputs, TuneOutputs)
WRITE_TUNING = PublishStage("write-tuning", PublishInputs, PublishOutputs)
Tuned = Finished[TuneInputs, TuneOutputs]


@task(name="compare settings", cache_policy=NO_CACHE)
def compare_settings(
    retrained: Sequence[CoalitionPlan], cheap: Sequence[tuple[Candidate, Sequence[CoalitionPlan]]]
) -> Tuned:
    """Compare the measured utilities of candidates with retrained ones, on coalitions that all have a model of.

    Raises:
        InputError: so many trainings failed that fewer coalitions than a comparison takes are left, or retrained
            utilities are all the same.
    """
    space = open_workspace(settings())
    truth, found = mean_utilities(space, retrained), [mean_utilities(space, plans) for _, plans in cheap]
    shared = [members for members in truth if all(members in utilities for utilities in found)]
    if len(shared) < LEAST:
        raise InputError(
            f"settings are compared on at least {LEAST} coalitions, and {len(shared)} of {len(retrained)} trained "
            "without failing by all; raise `tuning.retrain`, or lower the learning rates"
        )
    worth = np.array([truth[members] for members in shared])
    utilities = np.array([[each[members] for members in shared] for each in found])
    seconds = np.array([seconds_of(space, plans) / len(plans) for _, plans in cheap])

    def compute(_space: Workspace) -> TuneOutputs:
        try:
            compared = compare_cheap(utilities, worth, seconds)
        except ValueError as error:
            raise InputError(str(error)) from error
        rows = []
        for row, (candidate, _) in enumerate(cheap):
            agreed = agreement(utilities[row], worth)
            rows.append(
                {
                    "finetune_steps": candidate.finetune_steps,
                    "ratio": candidate.ratio,
                    "images": candidate.images,
                    "steps": candidate.steps,
                    "error": float(compared.errors[row]),
                    "stderr": float(compared.stderr[row]),
                    "spearman": agreed.spearman,
                    "bias": agreed.bias,
                    "seconds": float(seconds[row]),
                    "chosen": row == compared.chosen,
                }
            )
        return TuneOutputs(rows, len(shared))

    inputs = TuneInputs(_keys(retrained), [(candidate, _keys(plans)) for candidate, plans in cheap])
    return run_here(TUNE, inputs, compute)


@task(name="write tuning", cache_policy=NO_CACHE)
def write_tuning(config: CreditConfig, tuned: Tuned) -> Published:
    """Publish `tuning.csv`."""

    def make(_space: Workspace) -> Contents:
        note = f"Settings of the run {config.name!r}, compared by models retrained on coalitions."
        return Contents(note=note, tables={"tuning": pd.DataFrame(tuned.outputs.rows)})

    params = {"name": config.name, **config.tuning.model_dump(mode="json")}
    return publish(WRITE_TUNING, PublishInputs(config.name, f"{config.name}-tuning", {"tune": tuned.key}, params), make)


def _keys(plans: Sequence[CoalitionPlan]) -> list[str]:
    return [measure.key for plan in plans for measure in plan.measures]

"""Estimate the size of a generator and the compute of a run, before any image is read."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.models.generators.budget import Budget, Sampled, TrainingLength, budget
from royalty.models.generators.outline import Outline
from royalty.models.generators.registry import outline_generator
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.sources import ImageSource, side_of


@dataclass(frozen=True)
class Expected:
    """The estimates for a run that has not started."""

    outline: Outline
    coalitions: int
    budget: Budget


def expected(config: CreditConfig) -> Expected:
    """Estimate a run that measures all coalitions it may. Image files are assumed to be in colour."""
    generator, coalitions, sampling = config.generator, config.coalitions, config.sampling
    side = side_of(config.data)
    shape = (3 if isinstance(config.data, ImageSource) else 1, side, side)
    outline = outline_generator(generator.kind, shape, generator.architecture())
    trained = coalitions.training(coalitions.method, generator)
    # Assumes that pruning removes the same fraction of multiply-adds as of parameters.
    unpruned = coalitions.method in ("finetune", "retrain") or outline.frozen
    models = (coalitions.count + 2) * coalitions.seeds
    trainings = coalitions.seeds if coalitions.method == "amortized" else models
    return Expected(
        outline=outline,
        coalitions=coalitions.count,
        budget=budget(
            outline,
            base=TrainingLength(generator.steps, generator.batch_size),
            recovery=TrainingLength(config.pruning.recovery_steps, generator.batch_size),
            coalition=TrainingLength(trained.steps, trained.batch_size),
            sampled=Sampled(sampling.images, sampling.steps, 1 if getattr(generator, "guidance", 1) == 1 else 2),
            draws=sampling.draws,
            coalitions=models,
            trainings=trainings,
            kept=1.0 if unpruned else 1 - config.pruning.ratio,
        ),
    )

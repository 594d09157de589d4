"""Estimate the size of a generator and the compute of a run, before any image is read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from royalty.models.generators.budget import Budget, Sampled, TrainingLength, budget, training_bytes
from royalty.models.generators.outline import Outline
from royalty.models.generators.registry import outline_generator
from royalty.models.generators.stacked import LANES
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
    outline = _outline(config)
    trained = coalitions.training(coalitions.method, generator)
    # Assumes that pruning removes the same fraction of multiply-adds as of parameters.
    unpruned = coalitions.method in ("finetune", "retrain") or outline.frozen
    models = (coalitions.count + 2) * coalitions.seeds
    trainings = coalitions.seeds if coalitions.method == "amortized" else models
    one = budget(
        outline,
        base=TrainingLength(generator.steps, generator.batch_size),
        recovery=TrainingLength(config.pruning.recovery_steps, generator.batch_size),
        coalition=TrainingLength(trained.steps, trained.batch_size),
        sampled=Sampled(sampling.images, sampling.steps, 1 if getattr(generator, "guidance", 1) == 1 else 2),
        draws=sampling.draws,
        coalitions=models,
        trainings=trainings,
        kept=1.0 if unpruned else 1 - config.pruning.ratio,
    )
    pipelines = coalitions.pipelines
    return Expected(outline, pipelines * coalitions.count, replace(one, hours=pipelines * one.hours))


def coalition_bytes(config: CreditConfig) -> int:
    """GPU memory for what a process trains at once: a coalition, or as many as are trained side by side.

    The net is the whole one, since the fraction that pruning leaves of its activations is not known beforehand.
    """
    models, batch_size = 1, config.coalitions.batch_size
    if config.generator.kind == "lora":
        from royalty.models.generators.stacked_lora import MOST_IMAGES, MOST_MODELS  # with transformers

        models = max(1, min(MOST_MODELS, MOST_IMAGES["cuda"] // batch_size))
    elif config.generator.kind == "ddpm" and config.generator.share_process:
        models = LANES
    return training_bytes(_outline(config), batch_size, models)


def _outline(config: CreditConfig) -> Outline:
    side = side_of(config.data)
    shape = (3 if isinstance(config.data, ImageSource) else 1, side, side)
    return outline_generator(config.generator.kind, shape, config.generator.architecture())

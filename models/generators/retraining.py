"""Obtain the models of coalitions by retraining, finetuning, pooling, telling or unlearning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.items import ImageSet
from royalty.models.generators.amortized import Conditioned, Told, fit_conditioned, fractions_of
from royalty.models.generators.denoiser import Denoiser
from royalty.models.generators.generator import DivergedError, Generator, Sampler
from royalty.models.generators.mixture import Mixture, images_of_members
from royalty.models.generators.training import UNLEARNING, Method, Training
from royalty.models.generators.unlearning import gradient_ascent, influence_unlearning, mirrored_finetuning

OTHER_SEED = 1_000_003
"""Added to the seed for the second attempt of a training that diverged."""


@dataclass(frozen=True)
class Outcome:
    """The model of one coalition.

    Attributes:
        model: None if training diverged twice.
        seed: of the attempt that gave this outcome.
        failure: the reason why there is no model, or None.
        losses: of each step of a training that succeeded; empty for a model that no step trained.
    """

    model: Sampler | None
    seed: int
    failure: str | None = None
    losses: tuple[float, ...] = ()


def coalition_models(
    method: Method,
    start: Generator,
    data: ImageSet,
    masks: np.ndarray,
    training: Training,
    seeds: Sequence[int],
) -> list[Outcome]:
    """Train the model of each coalition.

    `sparsified` finetunes the pruned model, `finetune` the whole model, and `retrain` starts from random weights; for
    these three the model of the empty coalition is untrained. `pooled` finetunes the pruned model on each contributor
    alone, once for each seed; a coalition mixes the images of its members' models, see `pooled_outcome`. `amortized`
    finetunes the pruned model once for each seed on images of random coalitions, each told its coalition; the model of
    a coalition is this one, told the coalition, see `told_outcome`.
    `gradient-ascent`, `influence` and `mirrored` unlearn from the start the images of contributors outside the
    coalition; the model of the grand coalition is then the start itself.

    A training that diverges is repeated once with another seed.

    Args:
        start: the model that all coalitions start from; for `retrain`, a model of the shape to train.
        masks: bool, `(coalitions, contributors of the data)`.
        seeds: the seed of each coalition's training.

    Raises:
        InputError: this kind of generator does not support the method.
    """
    if method == "pooled":
        return _pooled(start, data, masks, training, seeds)
    if method == "amortized":
        public = np.zeros(len(data.contributors), dtype=bool)
        wholes = {seed: whole_outcome(start, data, public, training, seed).model for seed in set(seeds)}
        return [told_outcome(start, data, mask, wholes[seed], seed) for mask, seed in zip(masks, seeds, strict=True)]
    if method in UNLEARNING:
        if not isinstance(start, Denoiser):
            raise InputError(
                f"{method} is available for diffusion models only; this generator is of the kind {start.KIND}. Set "
                "`coalitions: {method: sparsified}`"
            )
        return [_unlearned(method, start, data, mask, training, seed) for mask, seed in zip(masks, seeds, strict=True)]
    outcomes = {
        row: Outcome(start.untrained(seed=seed), seed)
        for row, (mask, seed) in enumerate(zip(masks, seeds, strict=True))
        if not mask.any()
    }
    nonempty = [row for row in range(len(masks)) if row not in outcomes]
    for offset in (0, OTHER_SEED):
        pending = [row for row in nonempty if offset == 0 or outcomes[row].failure]
        models = [start.untrained(seed=seeds[row] + offset) if method == "retrain" else start.copy() for row in pending]
        if not models:
            break
        fit = start.fit_many(
            models,
            [data.take(data.of_coalition(masks[row])).shown() for row in pending],
            steps=training.steps,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            ema_decay=training.ema_decay,
            seeds=[seeds[row] + offset for row in pending],
        )
        for row, model, step, losses in zip(pending, models, fit.diverged, fit.losses, strict=True):
            if step is None:
                outcomes[row] = Outcome(model, seeds[row] + offset, losses=tuple(losses.tolist()))
            else:
                failure = f"the loss of step {step} is not finite, from two seeds"
                outcomes[row] = Outcome(None, seeds[row] + offset, failure)
    return [outcomes[row] for row in range(len(masks))]


def pooled_outcome(
    start: Generator, data: ImageSet, mask: np.ndarray, alone: Mapping[str, Sampler | None], seed: int
) -> Outcome:
    """The mixture of the models of a coalition's members, weighted by their images; nobody's model is untrained.

    An image of several members is divided equally among them.

    Args:
        alone: for each member that has images, the model finetuned on these alone; None if its training diverged. The
            coalition then has no model.
        seed: of these trainings.
    """
    members = [index for index in np.flatnonzero(mask) if data.membership[:, index].any()]
    names = [data.contributors[index] for index in members]
    if not members:
        return Outcome(start.untrained(seed=seed), seed)
    parts = [model for name in names if (model := alone[name]) is not None]
    if len(parts) < len(names):
        failed = next(name for name in names if alone[name] is None)
        return Outcome(None, seed, f"the training of {failed} alone diverged, from two seeds")
    return Outcome(Mixture(parts, images_of_members(data.membership[:, members]).tolist()), seed)


def whole_outcome(start: Generator, data: ImageSet, public: np.ndarray, training: Training, seed: int) -> Outcome:
    """The one model of all coalitions, a `Conditioned`; trained once more from another seed if it diverges.

    Args:
        public: bool, `(contributors of the data,)`: who is in every coalition.

    Raises:
        InputError: the start is not an unconditional denoiser.
    """
    failure = ""
    for attempt_seed in (seed, seed + OTHER_SEED):
        try:
            model, losses = fit_conditioned(
                start,
                data,
                public=public,
                steps=training.steps,
                batch_size=training.batch_size,
                learning_rate=training.learning_rate,
                ema_decay=training.ema_decay,
                seed=attempt_seed,
            )
        except DivergedError as diverged:
            failure = f"the loss of step {diverged.step} is not finite, from two seeds"
        else:
            return Outcome(model, attempt_seed, losses=tuple(losses))
    return Outcome(None, attempt_seed, failure)


def told_outcome(start: Generator, data: ImageSet, mask: np.ndarray, whole: Sampler | None, seed: int) -> Outcome:
    """The one model of all coalitions, told this one; nobody's model is untrained.

    Args:
        whole: the model of `whole_outcome`; None if its training diverged, and then this coalition has no model.
        seed: of that training.
    """
    if not len(data.of_coalition(mask)):
        return Outcome(start.untrained(seed=seed), seed)
    if not isinstance(whole, Conditioned):
        return Outcome(None, seed, "the training of the model of all coalitions diverged, from two seeds")
    return Outcome(Told(whole, fractions_of(data, mask)), seed)


def _pooled(
    start: Generator, data: ImageSet, masks: np.ndarray, training: Training, seeds: Sequence[int]
) -> list[Outcome]:
    outcomes = [Outcome(None, seed) for seed in seeds]
    for seed in set(seeds):
        rows = [row for row in range(len(masks)) if seeds[row] == seed]
        members = np.flatnonzero(masks[rows].any(axis=0) & data.membership.any(axis=0))
        single = np.eye(len(data.contributors), dtype=bool)[members]
        trained = coalition_models("sparsified", start, data, single, training, [seed] * len(members))
        alone = {data.contributors[index]: part.model for index, part in zip(members, trained, strict=True)}
        for row in rows:
            outcomes[row] = pooled_outcome(start, data, masks[row], alone, seed)
    return outcomes


def _unlearned(
    method: Method, start: Denoiser, data: ImageSet, mask: np.ndarray, training: Training, seed: int
) -> Outcome:
    kept = data.of_coalition(mask)
    forgotten = np.setdiff1d(np.arange(len(data)), kept)
    failure = ""
    for attempt_seed in (seed, seed + OTHER_SEED):
        model = start.copy()
        if not len(forgotten):
            return Outcome(model, attempt_seed)
        losses: list[float] = []
        try:
            if method == "gradient-ascent":
                losses = gradient_ascent(
                    model,
                    data.images[forgotten],
                    steps=training.steps,
                    batch_size=training.batch_size,
                    learning_rate=training.learning_rate,
                    seed=attempt_seed,
                )
            elif not len(kept):
                model = start.untrained(seed=attempt_seed)
            elif method == "mirrored":
                losses = mirrored_finetuning(
                    model,
                    data.images[kept],
                    data.images[forgotten],
                    steps=training.steps,
                    batch_size=training.batch_size,
                    learning_rate=training.learning_rate,
                    ema_decay=training.ema_decay,
                    seed=attempt_seed,
                )
            else:
                influence_unlearning(
                    model,
                    data.images[kept],
                    data.images[forgotten],
                    timesteps=training.timesteps,
                    damping=training.damping,
                    seed=attempt_seed,
                )
        except ValueError as error:
            failure = f"{error}, from two seeds"
        else:
            return Outcome(model, attempt_seed, losses=tuple(losses))
    return Outcome(None, attempt_seed, failure)

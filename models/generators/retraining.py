"""Every way to come by the model of a coalition: retrained, finetuned, or unlearned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.items import ImageSet
from royalty.models.generators.denoiser import Denoiser
from royalty.models.generators.generator import Generator
from royalty.models.generators.training import Method, Training
from royalty.models.generators.unlearning import gradient_ascent, influence_unlearning

OTHER_SEED = 1_000_003
"""Added to the seed of a training that diverged, for its one other try."""


@dataclass(frozen=True)
class Outcome:
    """The model of one coalition.

    Attributes:
        model: None if training diverged twice.
        seed: of the training that this is.
        failure: what happened, if there is no model.
    """

    model: Generator | None
    seed: int
    failure: str | None = None


def coalition_models(
    method: Method,
    start: Generator,
    data: ImageSet,
    masks: np.ndarray,
    training: Training,
    seeds: Sequence[int],
) -> list[Outcome]:
    """The model of each coalition.

    `sparsified` finetunes the pruned model and `finetune` the whole one; `retrain` starts from random
    weights. The model of nobody has learned from nobody: for these three it is the start's architecture
    with random weights. `gradient-ascent` and `influence` instead take out of the start what others than
    the coalition's members brought; then everybody's model is the start itself.

    A training that diverges is tried once more from another seed.

    Args:
        start: the model that all coalitions start from; for `retrain`, one of the shape to train.
        masks: bool, `(coalitions, contributors of the data)`.
        seeds: of each coalition's training.

    Raises:
        InputError: a method that this kind of generator has not.
    """
    if method in ("gradient-ascent", "influence"):
        if not isinstance(start, Denoiser):
            raise InputError(
                f"{method} unlearns what a denoiser learned, and this generator is of the kind {start.KIND}; take "
                "`coalitions: {method: sparsified}`"
            )
        return [_unlearned(method, start, data, mask, training, seed) for mask, seed in zip(masks, seeds, strict=True)]
    outcomes = {
        row: Outcome(start.untrained(seed=seed), seed)
        for row, (mask, seed) in enumerate(zip(masks, seeds, strict=True))
        if not mask.any()
    }
    somebody = [row for row in range(len(masks)) if row not in outcomes]
    for attempt in (0, OTHER_SEED):
        pending = [row for row in somebody if attempt == 0 or outcomes[row].failure]
        models = [
            start.untrained(seed=seeds[row] + attempt) if method == "retrain" else start.copy() for row in pending
        ]
        if not models:
            break
        fit = start.fit_many(
            models,
            [data.take(data.of_coalition(masks[row])).shown() for row in pending],
            steps=training.steps,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            ema_decay=training.ema_decay,
            seeds=[seeds[row] + attempt for row in pending],
        )
        for row, model, step in zip(pending, models, fit.diverged, strict=True):
            failure = None if step is None else f"the loss of step {step} is not finite, from two seeds"
            outcomes[row] = Outcome(None if failure else model, seeds[row] + attempt, failure)
    return [outcomes[row] for row in range(len(masks))]


def _unlearned(
    method: Method, start: Denoiser, data: ImageSet, mask: np.ndarray, training: Training, seed: int
) -> Outcome:
    kept = data.of_coalition(mask)
    forgotten = np.setdiff1d(np.arange(len(data)), kept)
    failure = ""
    for attempt in (seed, seed + OTHER_SEED):
        model = start.copy()
        if not len(forgotten):
            return Outcome(model, attempt)
        try:
            if method == "gradient-ascent":
                gradient_ascent(
                    model,
                    data.images[forgotten],
                    steps=training.steps,
                    batch_size=training.batch_size,
                    learning_rate=training.learning_rate,
                    seed=attempt,
                )
            elif len(kept):
                influence_unlearning(
                    model,
                    data.images[kept],
                    data.images[forgotten],
                    timesteps=training.timesteps,
                    damping=training.damping,
                    seed=attempt,
                )
            else:
                model = start.untrained(seed=attempt)
        except ValueError as error:
            failure = f"{error}, from two seeds"
        else:
            return Outcome(model, attempt)
    return Outcome(None, attempt, failure)

"""What a run takes of a GPU, from a formula, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.models.generators.outline import Outline

SUSTAINED = 8e12
"""Floating point operations a second that a GPU is assumed to reach: half of the float32 peak of the RTX 6000 (16.3
tera) that the sparsified fine-tuning paper was measured on. Half precision on a newer one is several times as fast."""

SAMPLING = 2
"""Operations a multiply-add of a forward pass."""

COPIES = 5
"""Numbers kept for a trained parameter: itself, its gradient, Adam's two moments, and its average."""

FLOAT = 4


@dataclass(frozen=True)
class TrainingLength:
    """A training: steps of so many images."""

    steps: int
    batch_size: int


@dataclass(frozen=True)
class Sampled:
    """Images that are sampled, in so many steps of `passes` through the net each; 2 of guidance."""

    images: int
    steps: int
    passes: int = 1


@dataclass(frozen=True)
class Budget:
    """What a run is expected to take.

    Attributes:
        coalition_minutes: of one GPU, for one coalition: its training, and the images that it is measured by.
        hours: of one GPU, for all.
        gigabytes: of its memory, where the whole model is trained.
    """

    coalition_minutes: float
    hours: float
    gigabytes: float


def budget(
    outline: Outline,
    *,
    base: TrainingLength,
    recovery: TrainingLength,
    coalition: TrainingLength,
    sampled: Sampled,
    draws: int,
    coalitions: int,
    kept: float,
) -> Budget:
    """What training, pruning and coalitions take by the multiply-adds M of one denoising step of one image.

    A training takes `outline.operations` M steps batch_size operations (6 a multiply-add: 2 forward, and 2 each for the
    gradients of inputs and of weights; 4 where the weights that multiply are frozen), sampling 2 M images steps passes,
    and a pruned net has `kept` M. Base and pruned net are trained once, three models are measured, and every coalition
    trains and samples one: the sum over 8e12 operations a second (`SUSTAINED`), an assumption. Decoding of latents, the
    property, and reading of images are left out.

    Memory is 4 bytes for each frozen parameter, 20 for each trained one, and what the gradient of each image of a batch
    keeps, all in float32.

    Args:
        draws: of images from each coalition's model.
        coalitions: models that are trained and measured, those of nobody and everybody too.
        kept: share of the multiply-adds that coalitions' models have of the whole net's.
    """
    own = outline.multiply_adds * kept

    def training(multiply_adds: float, trained: TrainingLength) -> float:
        return outline.operations * multiply_adds * trained.steps * trained.batch_size

    def sampling(multiply_adds: float) -> float:
        return SAMPLING * multiply_adds * sampled.images * sampled.steps * sampled.passes

    once = training(outline.multiply_adds, base) + training(own, recovery)
    once += sampling(outline.multiply_adds) + 2 * sampling(own)
    each = training(own, coalition) + draws * sampling(own)
    held = FLOAT * (outline.frozen + COPIES * outline.parameters) + base.batch_size * outline.activations
    return Budget(
        coalition_minutes=each / SUSTAINED / 60,
        hours=(once + coalitions * each) / SUSTAINED / 3600,
        gigabytes=held / 1e9,
    )

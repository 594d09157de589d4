"""Estimate the GPU time and memory of a run before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.models.generators.outline import Outline

SUSTAINED = 8e12
"""Floating-point operations per second that a GPU is assumed to sustain: half of the float32 peak (16.3 TFLOPS) of the
RTX 6000 used in the sparsified fine-tuning paper. Newer GPUs at half precision are several times as fast."""

SAMPLING = 2
"""Operations per multiply-add of a forward pass."""

COPIES = 5
"""Numbers stored for a trained parameter: its value, its gradient, Adam's two moments, and its average."""

FLOAT = 4

CONTEXT = 2 * 2**30
"""Bytes of a process on a GPU beside its nets: CUDA itself, kernels, the property's encoder, and memory that PyTorch
keeps for reuse. Assumed."""

USED = 0.9
"""Fraction of the free memory of a GPU that processes are given."""

MOST_PROCESSES = 8
"""Most processes on a GPU: they take turns in computing, and gain by overlapping their waits alone."""


@dataclass(frozen=True)
class TrainingLength:
    """The length of a training: its steps, and the images per step."""

    steps: int
    batch_size: int


@dataclass(frozen=True)
class Sampled:
    """A sampling: its images, the steps for each, and the passes through the net per step (2 with guidance)."""

    images: int
    steps: int
    passes: int = 1


@dataclass(frozen=True)
class Budget:
    """The estimated cost of a run.

    Attributes:
        coalition_minutes: GPU time of one coalition: sampling its images, and training its model, or its part of a
            training for all.
        hours: GPU time of the whole run, on one GPU.
        gigabytes: GPU memory for training the whole model.
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
    trainings: int,
    kept: float,
) -> Budget:
    """Estimate the cost of a run from the multiply-adds M of one denoising step of one image.

    A training takes `outline.operations` * M * steps * batch_size operations: 6 per multiply-add (2 forward, and 2 each
    for the gradients of inputs and of weights), or 4 if the weights are frozen. A sampling takes
    2 * M * images * steps * passes, and a pruned net has `kept` * M multiply-adds. Base and pruned net are trained once
    and three models are sampled; each coalition samples one model, and trains one unless it shares a training. The sum
    is divided by an assumed 8e12 operations per second (`SUSTAINED`). Decoding of latents, the property, and reading of
    images are not included.

    Memory is 4 bytes for each frozen parameter, 20 bytes for each trained one, and the stored activations of a batch,
    all in float32.

    Args:
        draws: samplings of each coalition's model.
        coalitions: models that are measured, the empty and the grand coalition included.
        trainings: trainings behind these models.
        kept: fraction of the whole net's multiply-adds that the coalitions' models have.
    """
    pruned = outline.multiply_adds * kept

    def training(multiply_adds: float, length: TrainingLength) -> float:
        return outline.operations * multiply_adds * length.steps * length.batch_size

    def sampling(multiply_adds: float) -> float:
        return SAMPLING * multiply_adds * sampled.images * sampled.steps * sampled.passes

    shared = training(outline.multiply_adds, base) + training(pruned, recovery)
    shared += sampling(outline.multiply_adds) + 2 * sampling(pruned)
    per_coalition = training(pruned, coalition) * trainings / coalitions + draws * sampling(pruned)
    memory = training_bytes(outline, base.batch_size)
    return Budget(
        coalition_minutes=per_coalition / SUSTAINED / 60,
        hours=(shared + coalitions * per_coalition) / SUSTAINED / 3600,
        gigabytes=memory / 1e9,
    )


def training_bytes(outline: Outline, batch_size: int, models: int = 1) -> int:
    """Memory for training models of one shape side by side, all in float32.

    Frozen weights are held once. Each model has its weights, their gradients, Adam's two moments and the average, and
    the activations that its batch stores for the backward pass.
    """
    each = FLOAT * COPIES * outline.parameters + batch_size * outline.activations
    return FLOAT * outline.frozen + models * each


def processes_on_gpu(free: int, training: int, cores: int) -> int:
    """Number of processes that train coalitions on one GPU at once, at least one.

    `USED` times the free memory, divided by the memory of a process, which is that of its training and `CONTEXT`; at
    most one process for each core, and `MOST_PROCESSES`.

    Args:
        free: bytes of the GPU that nobody has taken.
        training: bytes of what a process trains at once: see `training_bytes`.
        cores: for the processes of this GPU.
    """
    return max(1, min(int(USED * free) // (training + CONTEXT), cores, MOST_PROCESSES))

"""The training loop of denoisers: add noise of a random level, and minimize the error of the prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from royalty.models.generators.acceleration import in_bfloat16
from royalty.models.generators.averaging import Average
from royalty.models.generators.draws import Draws
from royalty.models.generators.generator import ScaledImages
from royalty.models.generators.libraries import DDIMScheduler
from royalty.models.generators.memory import Parts
from royalty.models.generators.readings import Readings
from royalty.models.generators.resume import Keeper, pack_training, unpack_training
from royalty.models.generators.unets import target_of

Optimizing = Callable[[list[Tensor], float], torch.optim.Optimizer]
"""From parameters and the learning rate to an optimizer of Adam's family."""

Predict = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From noisy images `(models, batch, c, h, w)`, times and classes, both `(models, batch)`, to predictions shaped like
the images."""


def train(
    predict: Predict,
    parameters: list[Tensor],
    sets: Sequence[Tensor | ScaledImages],
    scheduler: DDIMScheduler,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    ema_decay: float,
    seeds: Sequence[int],
    rows: Sequence[Iterable[Tensor]] | None = None,
    labels: Sequence[Tensor] | None = None,
    unlabelled: int = 0,
    flip: bool = False,
    mixed_precision: bool = False,
    gradient_accumulation: int = 1,
    keeper: Keeper | None = None,
    optimizing: Optimizing | None = None,
) -> Iterator[list[list[float]]]:
    """Train models side by side, each on its own images from its own seed: see `Denoiser.fit`.

    Args:
        predict: computes the predictions of all models at once.
        parameters: the weights of all models; the prediction of a model depends on its own weights only.
        sets: for each model its training data; indexing with int64 rows gives `(rows, c, h, w)`.
        seeds: for each model the seed of its batches, timesteps and noise.
        rows: for each model the rows of its data in each batch, taken when the step begins; by default all rows, epoch
            after epoch.
        labels: for each model the classes of its images.
        unlabelled: the class that stands for a hidden class.
        flip: whether images are mirrored at random.
        mixed_precision, gradient_accumulation: see `royalty.models.generators.unets.Architecture`.
        keeper: see `Denoiser.fit`.
        optimizing: makes the optimizer; `adam` unless given.

    Yields:
        After each step the losses that were read, `(steps, models)`: those of this step or, on a GPU, usually none, and
        in turn those of `readings.READ_EVERY` steps. The parameters become their averages when the iterator is
        exhausted; a caller that stops earlier leaves the unaveraged weights.
    """
    device = parameters[0].device
    draws = Draws(seeds, device)
    plans = rows or draws.plans(sets, batch_size, steps)
    average = Average(parameters, ema_decay)
    optimizer = (optimizing or adam)(parameters, learning_rate)
    parts = Parts(parameters, batch_size, gradient_accumulation)
    saved = keeper.load() if keeper else None
    before = unpack_training(saved, optimizer, average.means, draws.generators) if saved else []
    average.step = done = len(before)
    for row in before:
        yield [row]
    readings = Readings(draws, steps, before)
    for step, chosen in enumerate(zip(*plans, strict=True)):
        if step < done:
            continue
        clean = torch.stack([data[batch] for data, batch in zip(sets, chosen, strict=True)])  # (models, batch, c, h, w)
        noise, times, mirrored, hidden = draws.step(clean.shape[1:], flip=flip, hide=labels is not None)
        classes = (
            None
            if labels is None
            else torch.stack([model_labels[batch] for model_labels, batch in zip(labels, chosen, strict=True)])
        )
        # Selecting the images by `where` needs no count of them, for which the CPU would wait.
        if mirrored is not None:
            clean = torch.where(mirrored[..., None, None, None], clean.flip(-1), clean)
        if classes is not None and hidden is not None:
            classes = classes.masked_fill(hidden, unlabelled)
        flat = (clean.flatten(0, 1), noise.flatten(0, 1), times.flatten())
        noisy, target = scheduler.add_noise(*flat), target_of(scheduler, *flat)
        noisy, target = noisy.view_as(clean), target.view_as(clean)
        work = partial(_backward, predict, noisy, times, classes, target, mixed_precision)
        computed = parts.run(work, optimizer.zero_grad)
        optimizer.step()
        average.add()
        saving = keeper is not None and keeper.due()
        losses = readings.add(computed, now=saving)
        if keeper and saving:
            keeper.save(pack_training(optimizer, average.means, draws.generators, readings.rows))
        yield losses
    average.keep()


def adam(parameters: list[Tensor], learning_rate: float) -> torch.optim.Optimizer:
    """AdamW, fused into one kernel call per step."""
    return torch.optim.AdamW(parameters, lr=learning_rate, fused=True)


def eight_bit_adam(parameters: list[Tensor], learning_rate: float) -> torch.optim.Optimizer:
    """AdamW with 8-bit moments (Dettmers et al. 2022), which take a quarter of the memory."""
    from bitsandbytes.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(parameters, lr=learning_rate)
    return optimizer


def _backward(
    predict: Predict,
    noisy: Tensor,
    times: Tensor,
    classes: Tensor | None,
    target: Tensor,
    mixed_precision: bool,
    part: slice,
) -> Tensor:
    """Add the gradients of a part of the batch; returns its contribution to the loss of each model, `(models,)`."""
    with in_bfloat16(noisy.device, mixed_precision):
        predicted = predict(noisy[:, part], times[:, part], None if classes is None else classes[:, part])
    share = predicted.shape[1] / noisy.shape[1]
    losses = (predicted.float() - target[:, part]).square().flatten(1).mean(1) * share
    # The sum gives each model the gradient of its own loss.
    losses.sum().backward()  # type: ignore[no-untyped-call]
    return losses.detach()

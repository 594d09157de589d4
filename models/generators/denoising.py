"""How denoisers learn: noise of a random level, and the error of what they predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from royalty.models.generators.acceleration import in_bfloat16
from royalty.models.generators.averaging import Average
from royalty.models.generators.generator import ScaledImages, batches
from royalty.models.generators.libraries import DDIMScheduler
from royalty.models.generators.memory import Parts
from royalty.models.generators.resume import Keeper, pack_training, unpack_training
from royalty.models.generators.unets import DIFFUSION_STEPS, target_of

Optimizing = Callable[[list[Tensor], float], torch.optim.Optimizer]
"""Of Adam's family, from parameters and the learning rate."""

Predict = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From noisy images `(models, batch, c, h, w)`, times and classes, both `(models, batch)`, to what is learned of them,
shaped like the images."""

UNLABELLED = 0.1
"""Share of images whose class is not told in training, so that guidance has something to compare with."""


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
    labels: Sequence[Tensor] | None = None,
    unlabelled: int = 0,
    flip: bool = False,
    mixed_precision: bool = False,
    gradient_accumulation: int = 1,
    keeper: Keeper | None = None,
    optimizing: Optimizing | None = None,
) -> Iterator[list[float]]:
    """Train models side by side, each on its own images from its own seed: see `Denoiser.fit`.

    Args:
        predict: all models at once.
        parameters: every weight of every model; what one model predicts depends on its own weights only.
        sets: for each model what it learns, which rows, int64, give `(rows, c, h, w)` of.
        seeds: for each model that of its batches, timesteps and noise.
        labels: for each model the classes of its images, some of which are not told: `unlabelled` stands for them.
        flip: whether images are mirrored at random.
        mixed_precision, gradient_accumulation: see `royalty.models.generators.unets.Architecture`.
        keeper: see `Denoiser.fit`.
        optimizing: makes the optimizer; `adam` unless given.

    Yields:
        The loss of each model, after each step. When the last step has been taken up, the parameters
        become their averages; a caller that stops earlier leaves them in between.
    """
    device = parameters[0].device
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    plans = [batches(len(data), batch_size, steps, generator) for data, generator in zip(sets, generators, strict=True)]
    average = Average(parameters, ema_decay)
    optimizer = (optimizing or adam)(parameters, learning_rate)
    parts = Parts(parameters, batch_size, gradient_accumulation)
    saved = keeper.load() if keeper else None
    losses_so_far = unpack_training(saved, optimizer, average.means, generators) if saved else []
    average.step = done = len(losses_so_far)
    yield from losses_so_far[:]
    for step, chosen in enumerate(zip(*plans, strict=True)):
        if step < done:
            continue
        clean = torch.stack([data[batch] for data, batch in zip(sets, chosen, strict=True)])  # (models, batch, c, h, w)
        noise, times = torch.empty_like(clean), torch.empty(clean.shape[:2], dtype=torch.long, device=device)
        for model, generator in enumerate(generators):
            noise[model] = torch.randn(clean.shape[1:], generator=generator).to(device)
            times[model] = torch.randint(DIFFUSION_STEPS, (batch_size,), generator=generator).to(device)
        told = None if labels is None else torch.stack([own[batch] for own, batch in zip(labels, chosen, strict=True)])
        for model, generator in enumerate(generators):
            if flip:
                mirrored = torch.rand(batch_size, generator=generator).to(device) < 0.5
                clean[model, mirrored] = clean[model, mirrored].flip(-1)
            if told is not None:
                hidden = torch.rand(batch_size, generator=generator).to(device) < UNLABELLED
                told[model, hidden] = unlabelled
        every = (clean.flatten(0, 1), noise.flatten(0, 1), times.flatten())
        noisy, target = scheduler.add_noise(*every), target_of(scheduler, *every)
        noisy, target = noisy.view_as(clean), target.view_as(clean)
        work = partial(_backward, predict, noisy, times, told, target, mixed_precision)
        losses = parts.run(work, optimizer.zero_grad)
        optimizer.step()
        average.add()
        row = losses.tolist()
        if keeper:
            losses_so_far.append(row)
            if keeper.due():
                keeper.save(pack_training(optimizer, average.means, generators, losses_so_far))
        yield row
    average.keep()


def adam(parameters: list[Tensor], learning_rate: float) -> torch.optim.Optimizer:
    """AdamW in one call."""
    return torch.optim.AdamW(parameters, lr=learning_rate, fused=True)


def eight_bit_adam(parameters: list[Tensor], learning_rate: float) -> torch.optim.Optimizer:
    """AdamW whose moments have 8 bits (Dettmers et al. 2022): a quarter of their memory."""
    from bitsandbytes.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(parameters, lr=learning_rate)
    return optimizer


def _backward(
    predict: Predict,
    noisy: Tensor,
    times: Tensor,
    told: Tensor | None,
    target: Tensor,
    mixed_precision: bool,
    part: slice,
) -> Tensor:
    """The share of a part of the batch in the loss of each model, `(models,)`, whose gradients it adds."""
    with in_bfloat16(noisy.device, mixed_precision):
        predicted = predict(noisy[:, part], times[:, part], None if told is None else told[:, part])
    share = predicted.shape[1] / noisy.shape[1]
    losses = (predicted.float() - target[:, part]).square().flatten(1).mean(1) * share
    # The sum gives each model the gradient of its own loss.
    losses.sum().backward()  # type: ignore[no-untyped-call]
    return losses.detach()

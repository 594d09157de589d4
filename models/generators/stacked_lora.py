"""Train LoRAs of one frozen pipeline side by side: each step passes the batches of all models through the net once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from royalty.models.base.progress import Progress
from royalty.models.data.items import Shown
from royalty.models.generators.acceleration import compiled, in_bfloat16
from royalty.models.generators.adaptation import Adaptation
from royalty.models.generators.averaging import Average
from royalty.models.generators.captions import captions_of
from royalty.models.generators.draws import Draws
from royalty.models.generators.generator import Fits, RowCache
from royalty.models.generators.libraries import get_cosine_schedule_with_warmup
from royalty.models.generators.memory import Parts
from royalty.models.generators.readings import Readings
from royalty.models.generators.resume import Keeper, pack_training, unpack_training
from royalty.models.generators.stable_diffusion import FrozenPipeline

WARMUP_SHARE = 10
"""Warm-up takes at most 1 / WARMUP_SHARE of the steps: a coalition's finetuning can be shorter than `warmup_steps`."""

MOST_MODELS = 8
"""Most models side by side."""

MOST_IMAGES = {"cpu": 128, "cuda": 64}
"""Most images in a pass of the net with several models, by type of device.

On a CPU, more images of small nets gain nothing. On CUDA the gain has not been measured, so a pass has no more images
than the default batch of one model.
"""


def width_of(settings: Adaptation, batch_size: int, device: torch.device) -> int:
    """Number of models to train side by side.

    A compiled net is compiled for one model. Settings that save memory at the expense of time are kept for one model
    too, since several take more of it.
    """
    alone = settings.torch_compile or settings.gradient_checkpointing or settings.gradient_accumulation > 1
    return 1 if alone else max(1, min(MOST_MODELS, MOST_IMAGES[device.type] // batch_size))


def fit_side_by_side(
    pipeline: FrozenPipeline,
    settings: Adaptation,
    models: Sequence[Mapping[str, Tensor]],
    sets: Sequence[Shown],
    cache: RowCache,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    ema_decay: float,
    seeds: Sequence[int],
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> tuple[list[dict[str, Tensor]], Fits]:
    """Train LoRAs of one pipeline and rank, each on its own images and with its own seed.

    Batches, noise, learning rates and average of a model are those of a training alone, and so is the result, up to
    rounding.

    Args:
        models: the weights that each training starts from, by name; they are not changed.
        sets: for each model at least one image, with captions unless `settings` have a prompt.
        cache: of latents and embeddings.
        seeds: for each model the seed of all its random draws.
        progress: counts steps, of all models together.
        keeper: see `royalty.models.generators.generator.Generator.fit`.

    Returns:
        For each model its averaged weights by name, or those it started from if it diverged; and the losses: mean
        squared errors of the predicted noise or velocity, whichever the base predicts.

    Raises:
        InputError: missing captions, or images or captions that the pipeline does not take.
    """
    count = len(models)
    sources = [_source(pipeline, settings, shown, cache) for shown in sets]
    draws = Draws(seeds, pipeline.device)
    plans = draws.plans([source.moments for source in sources], batch_size, steps)
    losses = np.full((count, steps), math.nan)
    diverged: list[int | None] = [None] * count
    with stacked(pipeline, settings, models) as parameters:
        pipeline.unet.train(settings.gradient_checkpointing)  # diffusers checkpoints in training mode only
        if settings.gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        unet = compiled(pipeline.unet, pipeline.device, settings.torch_compile)
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=settings.weight_decay, fused=True)
        rate = get_cosine_schedule_with_warmup(optimizer, min(settings.warmup_steps, steps // WARMUP_SHARE), steps)
        average = Average(parameters, ema_decay)
        parts = Parts(parameters, batch_size, settings.gradient_accumulation)
        saved = keeper.load() if keeper else None
        done = unpack_training(saved, optimizer, average.means, draws.generators) if saved else []
        readings, average.step = Readings(draws, steps, done), len(done)
        for step, row in enumerate(done):
            losses[:, step] = row
            rate.step()
        for chosen in islice(zip(*plans, strict=True), len(done), None):
            picked = enumerate(zip(sources, chosen, strict=True))
            drawn = zip(*(source.draw(batch, draws, model) for model, (source, batch) in picked), strict=True)
            clean, noise, times, embeddings = (torch.stack(tensors) for tensors in drawn)
            work = partial(_backward, pipeline, settings, unet, clean, noise, times, embeddings)
            saving, first = keeper is not None and keeper.due(), len(readings.rows)
            for step, row in enumerate(readings.add(parts.run(work, optimizer.zero_grad), now=saving), first):
                for index, loss in enumerate(row):
                    if diverged[index] is None:
                        losses[index, step] = loss
                        diverged[index] = None if math.isfinite(loss) else step + 1
            if None not in diverged:
                break
            optimizer.step()
            rate.step()
            average.add()
            if progress is not None:
                progress(1)
            if keeper and saving:
                keeper.save(pack_training(optimizer, average.means, draws.generators, readings.rows))
    learned = [dict(start) for start in models]
    for index in range(count):
        means = [mean if count == 1 else mean[index].clone() for mean in average.means]
        if diverged[index] is None and not all(mean.isfinite().all() for mean in means):
            diverged[index], losses[index, -1] = steps, math.nan
        if diverged[index] is None:
            learned[index] = dict(zip(sorted(learned[index]), means, strict=True))
    return learned, Fits(losses, tuple(diverged))


@contextmanager
def stacked(
    pipeline: FrozenPipeline, settings: Adaptation, models: Sequence[Mapping[str, Tensor]]
) -> Iterator[list[nn.Parameter]]:
    """Let the U-Net adapt each of several equal parts of its batch by the LoRA of one model.

    Yields:
        The weights of all models, sorted by name: `(models, *shape)`, or `shape` for a single model, whose layers are
        peft's own.
    """
    adapter = pipeline.adapter(settings.targets, settings.rank)
    names = sorted(adapter)
    if len(models) == 1:
        with torch.no_grad():
            for name in names:
                adapter[name].copy_(models[0][name]).requires_grad_()
        yield [adapter[name] for name in names]
        return
    (active,) = pipeline.unet.active_adapters()
    parameters, replaced = [], []
    try:
        for name in names:
            layers = pipeline.unet.get_submodule(name.removeprefix("unet.").removesuffix(".weight"))  # of all adapters
            layer = _Stacked(layers[active], torch.stack([model[name] for model in models]))
            replaced.append((layers, layers[active]))
            layers[active] = layer
            parameters.append(layer.weight)
        yield parameters
    finally:
        for layers, layer in replaced:
            layers[active] = layer


class _Stacked(nn.Module):
    """A linear or convolutional layer without bias, with the weights of several models.

    Args:
        layer: a layer of one model.
        weight: of all models, `(models, *shape)`.
    """

    def __init__(self, layer: nn.Module, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.convolution: Any = layer if isinstance(layer, nn.Conv2d) else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs for inputs `(models * batch, ...)`, model after model."""
        if self.convolution is not None:
            parts = zip(inputs.chunk(len(self.weight)), self.weight, strict=True)
            how = self.convolution.stride, self.convolution.padding
            return torch.cat([functional.conv2d(part, weight, None, *how) for part, weight in parts])
        rows = inputs.reshape(len(self.weight), -1, inputs.shape[-1])
        return torch.bmm(rows, self.weight.mT).view(*inputs.shape[:-1], -1)


@dataclass(frozen=True)
class _Source:
    """The images of one model: moments of latents, `(items, 2, c, h, w)`; embeddings of the distinct captions, and each
    image's index in these."""

    moments: Tensor
    embeddings: Tensor
    captions: Tensor
    timesteps: int

    def draw(self, batch: Tensor, draws: Draws, model: int) -> tuple[Tensor, ...]:
        """Latents and noise, `(batch, c, h, w)`, timesteps, `(batch,)`, and embeddings, `(batch, tokens, features)`.

        Args:
            batch: positions of the images.
            model: whose draws are taken.
        """
        # One draw samples the latent from its posterior, the other is the noise to predict.
        noise = draws.normal((2, len(batch), *self.moments.shape[2:]), model)
        times = draws.below(self.timesteps, len(batch), model)
        clean = self.moments[batch, 0] + self.moments[batch, 1] * noise[0]
        return clean, noise[1], times, self.embeddings[self.captions[batch]]


def _source(pipeline: FrozenPipeline, settings: Adaptation, shown: Shown, cache: RowCache) -> _Source:
    captions = captions_of(shown.texts, settings.prompt, len(shown.images))
    distinct = sorted(set(captions))
    moments = pipeline.moments(shown.images, cache)
    return _Source(
        moments=moments,
        embeddings=pipeline.embeddings(distinct, cache),
        captions=torch.tensor([distinct.index(text) for text in captions], device=moments.device),
        timesteps=int(pipeline.scheduler.config.num_train_timesteps),
    )


def _backward(
    pipeline: FrozenPipeline,
    settings: Adaptation,
    unet: Any,
    clean: Tensor,
    noise: Tensor,
    times: Tensor,
    embeddings: Tensor,
    part: slice,
) -> Tensor:
    """Add the gradients of a part of each model's batch; returns its contribution to their mean losses, `(models,)`."""
    count, share = len(times), times[:, part].shape[1] / times.shape[1]
    clean, noise, times, embeddings = (tensor[:, part].flatten(0, 1) for tensor in (clean, noise, times, embeddings))
    noisy = pipeline.scheduler.add_noise(clean, noise, times)
    velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
    target = pipeline.scheduler.get_velocity(clean, noise, times) if velocity else noise
    with in_bfloat16(pipeline.device, settings.mixed_precision, cpus=False):
        predicted = unet(noisy, times, embeddings).sample
    losses: Tensor = (predicted.float() - target).square().view(count, -1).mean(1) * share
    # The sum gives each model the gradient of its own loss.
    losses.sum().backward()  # type: ignore[no-untyped-call]
    return losses.detach()

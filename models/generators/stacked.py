"""Train many small models of one shape at once.

A net of few channels on small images spends much of a step outside the arithmetic: calls, copies, and convolutions too
small to fill the processor. A stack of nets makes each call once for all models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from royalty.models.base.progress import Progress
from royalty.models.data.items import Shown
from royalty.models.generators.denoiser import Denoiser
from royalty.models.generators.denoising import train
from royalty.models.generators.generator import Fits, ScaledImages
from royalty.models.generators.libraries import UNet2DModel
from royalty.models.generators.unets import DIFFUSION_STEPS

LANES = 8
"""The width of a stack is a multiple of this.

Layer widths are multiples of the four groups of the group norms, so the size of every tensor of a stack is a multiple
of 32. Vector loops then leave no remainder to a scalar loop, whose last bit may differ, and the result of a model does
not depend on its position in the stack.
"""


def fit_stacked(
    models: Sequence[Denoiser],
    sets: Sequence[Shown],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    ema_decay: float,
    seeds: Sequence[int],
    progress: Progress | None = None,
    width: int = LANES,
) -> Fits:
    """Train every model in place, on its own images and with its own seed; equal to `DDPM.fit` up to rounding.

    On one thread of a CPU the result of a model depends, to the last bit, on its own weights, images and seed and on
    `width`, but not on the other models, their number or their order. Kernels are chosen by the width, so all stacks
    have the same width: the last is filled up with copies of its last model.

    Args:
        models: of one shape, pruned widths included, and on one device.
        sets: for each model at least one image, uint8 `(items, channels, height, width)`, with the labels of all images
            if the models are conditional.
        seeds: for each model the seed of its batches, timesteps and noise.
        progress: counts the steps of each model, `len(models) * steps` in all.
        width: models trained at once, a multiple of 8; memory grows with it.

    Returns:
        The losses are mean squared errors of the predicted velocity.

    Raises:
        ValueError: models of different shapes, an empty image set or one of another shape, not one set and one seed for
            each model, or a width that is no multiple of 8. The models are then unchanged.
        InputError: conditional models without a label for each image.
    """
    _check(models, sets, seeds, width)
    classes = [model.classes(shown.labels, len(shown.images)) for model, shown in zip(models, sets, strict=True)]
    losses = np.empty((len(models), steps))
    for start in range(0, len(models), width):
        end = min(start + width, len(models))
        chosen = [min(index, end - 1) for index in range(start, start + width)]
        nets = StackedUNets([models[index].unet for index in chosen])
        training = train(
            nets,
            [nets.weights],
            [ScaledImages(sets[index].images, models[index].device) for index in chosen],
            models[start].scheduler,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
            seeds=[seeds[index] for index in chosen],
            labels=[known for index in chosen if (known := classes[index]) is not None] or None,
            unlabelled=models[start].architecture.classes,
            mixed_precision=models[start].architecture.mixed_precision,
            gradient_accumulation=models[start].architecture.gradient_accumulation,
        )
        done = 0
        for read in training:
            for row in read:
                losses[start:end, done] = row[: end - start]
                done += 1
            if progress is not None:
                progress(end - start)
        nets.unstack([model.unet for model in models[start:end]])
    failed = ~np.isfinite(losses)
    for place, model in enumerate(models):
        failed[place, -1:] |= not all(weight.isfinite().all() for weight in model.unet.parameters())
    diverged = tuple(int(row.argmax()) + 1 if row.any() else None for row in failed)
    return Fits(losses=losses, diverged=diverged)


class StackedUNets:
    """The forward pass of several U-Nets of `DDPM.build` of one shape at once.

    Hidden images are `(batch, models * channels, h, w)`, with the channels of a model side by side. The convolutions of
    all models are then one grouped convolution, and their group norms one with more groups. Time embeddings are
    `(models, batch, features)`.
    """

    def __init__(self, unets: Sequence[UNet2DModel]) -> None:
        self.unet = unets[0]
        self.width = len(unets)
        tensors = zip(*(unet.parameters() for unet in unets), strict=True)
        blocks = [torch.stack(same).detach().flatten() for same in tensors]
        self.sizes = [len(block) for block in blocks]
        # One vector, padded to whole vector registers, so that the optimizer makes one call without a remainder.
        blocks.append(torch.zeros(-sum(self.sizes) % 64, device=blocks[0].device))
        self.weights = torch.cat(blocks).requires_grad_()
        times = torch.arange(DIFFUSION_STEPS, device=self.weights.device)
        self.time_features: Tensor = self.unet.time_proj(times)  # (diffusion steps, features)
        self.layers: dict[nn.Parameter, Tensor] = {}

    def __call__(self, noisy: Tensor, times: Tensor, classes: Tensor | None = None) -> Tensor:
        """Predictions `(models, batch, c, h, w)` for noisy images of that shape.

        Args:
            times: `(models, batch)`.
            classes: `(models, batch)`, for conditional models.
        """
        self.layers = self._split()
        unet = self.unet
        embedding = functional.silu(self._linear(unet.time_embedding.linear_1, self.time_features[times]))
        embedding = self._linear(unet.time_embedding.linear_2, embedding)
        if classes is not None:
            embedding = embedding + self._embed(unet.class_embedding, classes)
        # Every block begins by applying the nonlinearity to the embedding; it is applied once here.
        embedding = functional.silu(embedding)
        # Grouped convolutions of few channels are fastest in channels-last memory format, which every layer preserves.
        images = noisy.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        hidden = self._convolve(unet.conv_in, images)
        skipped = [hidden]
        for block in unet.down_blocks:
            for resnet in block.resnets:
                hidden = self._resnet(resnet, hidden, embedding)
                skipped.append(hidden)
            for sampler in block.downsamplers or ():
                hidden = self._convolve(sampler.conv, hidden)
                skipped.append(hidden)
        for resnet in unet.mid_block.resnets:
            hidden = self._resnet(resnet, hidden, embedding)
        for block in unet.up_blocks:
            for resnet in block.resnets:
                hidden = self._resnet(resnet, self._join(hidden, skipped.pop()), embedding)
            for sampler in block.upsamplers or ():
                hidden = self._convolve(sampler.conv, functional.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        hidden = self._convolve(unet.conv_out, functional.silu(self._normalize(unet.conv_norm_out, hidden)))
        return self._apart(hidden).permute(3, 0, 4, 1, 2).contiguous()

    @torch.no_grad()
    def unstack(self, unets: Sequence[UNet2DModel]) -> None:
        """Write the weights into the first U-Nets of the stack."""
        layers = self._split()
        for index, unet in enumerate(unets):
            for parameter, stacked in zip(unet.parameters(), layers.values(), strict=True):
                parameter.copy_(stacked[index])

    def _split(self) -> dict[nn.Parameter, Tensor]:
        """For each parameter of the first U-Net, that of every model, `(models, *shape)`, as views of the vector."""
        views = torch.split(self.weights, [*self.sizes, len(self.weights) - sum(self.sizes)])
        parameters = list(self.unet.parameters())
        return {
            parameter: view.view(self.width, *parameter.shape)
            for parameter, view in zip(parameters, views[:-1], strict=True)
        }

    def _resnet(self, resnet: Any, images: Tensor, embedding: Tensor) -> Tensor:
        hidden = self._convolve(resnet.conv1, functional.silu(self._normalize(resnet.norm1, images)))
        shift = self._linear(resnet.time_emb_proj, embedding)  # (models, batch, channels)
        hidden = hidden + shift.transpose(0, 1).flatten(1)[:, :, None, None]
        hidden = self._convolve(resnet.conv2, functional.silu(self._normalize(resnet.norm2, hidden)))
        return hidden + (images if resnet.conv_shortcut is None else self._convolve(resnet.conv_shortcut, images))

    def _convolve(self, layer: Any, images: Tensor) -> Tensor:
        weight, bias = self.layers[layer.weight].flatten(0, 1), self.layers[layer.bias].flatten()
        return functional.conv2d(images, weight, bias, layer.stride, layer.padding, groups=self.width)

    def _normalize(self, layer: Any, images: Tensor) -> Tensor:
        weight, bias = self.layers[layer.weight].flatten(), self.layers[layer.bias].flatten()
        return functional.group_norm(images, self.width * layer.num_groups, weight, bias, layer.eps)

    def _linear(self, layer: Any, features: Tensor) -> Tensor:
        weight, bias = self.layers[layer.weight], self.layers[layer.bias]
        return torch.baddbmm(bias[:, None], features, weight.transpose(1, 2))

    def _embed(self, layer: Any, classes: Tensor) -> Tensor:
        """The vectors of classes, `(models, batch, features)`, each from the table of its own model."""
        tables = self.layers[layer.weight]  # (models, classes, features)
        first = torch.arange(self.width, device=classes.device)[:, None] * tables.shape[1]
        return functional.embedding(first + classes, tables.flatten(0, 1))

    def _join(self, first: Tensor, second: Tensor) -> Tensor:
        """Concatenate the channels of each model."""
        return torch.cat([self._apart(first), self._apart(second)], dim=4).flatten(3).permute(0, 3, 1, 2)

    def _apart(self, images: Tensor) -> Tensor:
        """Images as `(batch, h, w, models, channels)`, which is their order in memory."""
        batch, channels, height, width = images.shape
        return images.permute(0, 2, 3, 1).reshape(batch, height, width, self.width, channels // self.width)


def _check(models: Sequence[Denoiser], sets: Sequence[Shown], seeds: Sequence[int], width: int) -> None:
    if width < 1 or width % LANES:
        raise ValueError(f"the width of a stack is a multiple of {LANES}; got {width}. Leave `width` at its default")
    if not len(models) == len(sets) == len(seeds):
        raise ValueError(
            f"every model has one image set and one seed; got {len(models)} models, {len(sets)} sets and "
            f"{len(seeds)} seeds. Pass equally many of each"
        )
    for index, (model, shown) in enumerate(zip(models, sets, strict=True)):
        images = shown.images
        shape = (model.architecture.channels, model.architecture.image_size, model.architecture.image_size)
        if len(images) == 0 or images.shape[1:] != shape:
            raise ValueError(
                f"an image set holds at least one image of shape {shape}; that of model {index} is an array of "
                f"shape {images.shape}. Leave out models without images, and resize the other images"
            )
        if _shape(model) != _shape(models[0]):
            raise ValueError(
                f"models of one stack have the same layers and widths; model {index} differs from model 0: "
                f"{model.architecture} against {models[0].architecture}, {model.unet.num_parameters()} weights "
                f"against {models[0].unet.num_parameters()}. Train models of different shapes in separate calls"
            )


def _shape(model: Denoiser) -> object:
    return model.architecture, [tuple(parameter.shape) for parameter in model.unet.parameters()]

"""Denoising diffusion in pixel space (Ho et al. 2020), sampled by UniPC (Zhao et al. 2023) unless told otherwise."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from models.choices import ImportanceName, PruningScope, SchedulerName
from models.data.items import Shown
from models.errors import InputError
from models.generators.denoising import train
from models.generators.generator import (
    NOTHING_ELSE,
    DivergedError,
    Fits,
    Progress,
    Resources,
    batches,
    fit_one_by_one,
    quantized,
    scaled,
)
from models.generators.libraries import DDPMPipeline, DDPMScheduler, UNet2DModel
from models.generators.outline import Outline, outline_of
from models.generators.resume import Keeper
from models.generators.schedulers import solver
from models.generators.unets import (
    Architecture,
    at_random_levels,
    build_unet,
    noise_schedule,
)
from models.pruning import Pruning, Size, fit_to_weights, prune, size_of
from models.serialization import pack, unpack

SAMPLING_STEPS = 20
TAYLOR_BATCH = 64
TAYLOR_BATCHES = 8


class DDPM:
    """A denoising diffusion model of uint8 images, `(n, channels, height, width)`, unconditional or of classes."""

    KIND: ClassVar[str] = "ddpm"

    def __init__(self, unet: UNet2DModel, architecture: Architecture) -> None:
        self.unet = unet
        self.architecture = architecture
        self.scheduler = noise_schedule(architecture.objective)

    @classmethod
    def build(cls, architecture: Architecture, *, seed: int) -> DDPM:
        """A model with random weights, which has learned from nobody."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet = build_unet(architecture)
        return cls(unet.eval(), architecture)

    @classmethod
    def for_images(
        cls,
        shown: Shown,
        *,
        block_channels: Sequence[int],
        attention: Sequence[int] = (),
        conditional: bool = False,
        seed: int,
        resources: Resources,
        **options: Any,
    ) -> DDPM:
        """A model of the size of the images, and of their classes if it is conditional: see `Architecture`.

        Raises:
            InputError: a conditional model of images that show one class.
        """
        channels, size = shown.images.shape[1:3]
        classes = 0
        if conditional:
            classes = 0 if shown.labels is None else int(shown.labels.max()) + 1
            if classes < 2:
                raise InputError(
                    f"a conditional generator learns from images of at least two labels, and these have {classes}; "
                    "label what they show, or leave `conditional` out"
                )
        levels = tuple(block_channels), tuple(attention)
        architecture = Architecture(size, channels, levels[0], attention=levels[1], classes=classes, **options)
        return cls.build(architecture, seed=seed).to(resources.device)

    @classmethod
    def outline(
        cls,
        shape: tuple[int, int, int],
        *,
        block_channels: Sequence[int],
        attention: Sequence[int] = (),
        conditional: bool = False,
        **options: Any,
    ) -> Outline:
        """What a model of images of a shape will be: of ten classes, if it is conditional."""
        levels = tuple(block_channels), tuple(attention)
        classes = 10 if conditional else 0
        with torch.device("meta"):
            return outline_of(
                build_unet(Architecture(shape[1], shape[0], levels[0], attention=levels[1], classes=classes, **options))
            )

    def to(self, device: str) -> DDPM:
        self.unet.to(device)
        return self

    def untrained(self, *, seed: int) -> DDPM:
        """A model of the same shape, pruned widths included, with random weights."""
        fresh = copy.deepcopy(self)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in fresh.unet.modules():
                if isinstance(module, nn.Conv2d | nn.Linear | nn.GroupNorm | nn.Embedding):
                    module.reset_parameters()
        return fresh

    def copy(self) -> DDPM:
        return copy.deepcopy(self)

    def size(self) -> Size:
        return size_of(self.unet)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.unet.device
        return device

    def fit(
        self,
        images: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        texts: Sequence[str] | None = None,
        steps: int,
        batch_size: int,
        learning_rate: float,
        ema_decay: float,
        seed: int,
        progress: Progress | None = None,
        keeper: Keeper | None = None,
    ) -> list[float]:
        """Train on images, from the current weights, and keep the averaged weights.

        The average starts anew with every call: one carried over from another training would keep
        weights that the images given here had no part in.

        Args:
            images: uint8, `(items, channels, height, width)`, at least one.
            labels: int64, `(items,)`, for a conditional model.
            texts: nothing is learned from them.
            steps: optimizer steps, at a constant learning rate: the average does what a decay would.
            ema_decay: bound of the decay (1 + t)/(10 + t) of the exponential moving average.
            seed: of batches, timesteps and noise.
            keeper: keeps the training from time to time. One that it kept is gone on with, and ends, on one thread of
                a CPU, with the very weights that it would have had; everything else must be as it was.

        Returns:
            The loss of each step: mean squared error of the prediction.

        Raises:
            InputError: a conditional model without labels.
            DivergedError: the loss is no longer finite.
        """
        classes = self._classes(labels, len(images))
        # The U-Net stays in evaluation mode: it has no layer that behaves otherwise in training, and in training
        # mode diffusers copies the input of every shortcut.
        training = train(
            lambda noisy, times, told: self.unet(noisy[0], times[0], None if told is None else told[0]).sample[None],
            list(self.unet.parameters()),
            [scaled(images, self.device)],
            self.scheduler,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
            seeds=[seed],
            labels=None if classes is None else [classes],
            unlabelled=self.architecture.classes,
            flip=self.architecture.flip,
            keeper=keeper,
        )
        losses = []
        for (loss,) in training:
            losses.append(loss)
            if not math.isfinite(loss):
                raise DivergedError(len(losses), loss, learning_rate)
            if progress is not None:
                progress(1)
        return losses

    def fit_many(self, models: Sequence[DDPM], sets: Sequence[Shown], *, seeds: Sequence[int], **training: Any) -> Fits:
        """Side by side where the net has neither attention nor classes: see `models.generators.stacked.fit_stacked`."""
        if not self.architecture.plain:
            return fit_one_by_one(models, sets, seeds=seeds, **training)
        from models.generators import stacked  # which imports this module

        return stacked.fit_stacked(models, [shown.images for shown in sets], seeds=seeds, **training)

    def prune(
        self,
        ratio: float,
        images: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        importance: ImportanceName = "magnitude",
        scope: PruningScope = "layer",
        seed: int = 0,
    ) -> Pruning:
        """Remove a share of the parameters, in place: see `models.pruning.prune`.

        Args:
            images, labels: as of `fit`; Taylor importance is of their loss.
            seed: of that loss, or of random importance.
        """
        if importance == "taylor":
            self._backward(scaled(images, self.device), self._classes(labels, len(images)), seed)
        return prune(self.unet, ratio, importance=importance, scope=scope, seed=seed)

    def _backward(self, data: Tensor, labels: Tensor | None, seed: int) -> None:
        """Leave the gradients of the training loss in the parameters, over some batches."""
        generator = torch.Generator(self.device).manual_seed(seed)
        self.unet.zero_grad()
        for batch in batches(len(data), TAYLOR_BATCH, TAYLOR_BATCHES, generator):
            noisy, times, target = at_random_levels(self.scheduler, data[batch], generator)
            told = None if labels is None else labels[batch]
            loss = nn.functional.mse_loss(self.unet(noisy, times, told).sample, target)
            loss.backward()  # type: ignore[no-untyped-call]

    def _classes(self, labels: np.ndarray | None, items: int) -> Tensor | None:
        """The classes to learn from.

        Raises:
            InputError: a conditional model without a label an image, or with one that it does not know.
        """
        classes = self.architecture.classes
        if not classes:
            return None
        if labels is None or len(labels) != items or labels.min() < 0 or labels.max() >= classes:
            raise InputError(
                f"a generator of {classes} classes learns from images with a label from 0 to {classes - 1} each; got "
                f"{'none' if labels is None else f'{len(labels)} labels up to {labels.max()}'} for {items} images. "
                "Label every image, or leave `conditional` out"
            )
        return torch.from_numpy(labels).to(self.device)

    def solver(self, steps: int, scheduler: SchedulerName = "unipc") -> Any:
        """The sampler at its start: see `models.generators.schedulers.solver`.

        UniPC is of second order: the utilities of coalitions after 5 steps are closer to those after 50 of DDIM than
        after 10 of DDIM (`tests/benchmarks/sampling_variance.py`).
        """
        return solver(scheduler, self.scheduler.config, steps, self.device)

    @torch.inference_mode()
    def sample(
        self,
        n: int,
        *,
        seed: int,
        steps: int = SAMPLING_STEPS,
        scheduler: SchedulerName = "unipc",
        batch_size: int = 256,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Generate images, deterministically from the initial noise.

        The initial noise of batch b depends on `seed` and b alone, so two models sampled with one seed
        start from the same noise and differ only by what they learned. Classes take turns.

        Returns:
            uint8, `(n, channels, height, width)`.
        """
        shape = (self.architecture.channels, self.architecture.image_size, self.architecture.image_size)
        images = []
        for index, start in enumerate(range(0, n, batch_size)):
            generator = torch.Generator(self.device).manual_seed(seed * 1_000_003 + index)
            size = min(batch_size, n - start)
            latent = torch.randn((size, *shape), generator=generator, device=self.device)
            told = torch.arange(start, start + size, device=self.device) % max(self.architecture.classes, 1)
            solver = self.solver(steps, scheduler)
            for time in solver.timesteps:
                latent = solver.step(self._predict(latent, time, told), time, latent).prev_sample
            images.append(quantized(latent))
            if progress is not None:
                progress(size)
        return np.concatenate(images)

    def _predict(self, latent: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """What the net says of a batch, guided by its classes if it knows any (Ho & Salimans 2022)."""
        classes, weight = self.architecture.classes, self.architecture.guidance
        if not classes:
            prediction: Tensor = self.unet(latent, time).sample
            return prediction
        conditional: Tensor = self.unet(latent, time, told).sample
        if weight == 1:
            return conditional
        free: Tensor = self.unet(latent, time, torch.full_like(told, classes)).sample
        return free + weight * (conditional - free)

    def to_bytes(self) -> bytes:
        """Weights and architecture as one safetensors payload."""
        weights = {name: tensor.cpu().numpy() for name, tensor in self.unet.state_dict().items()}
        return pack(weights, {"kind": self.KIND, **asdict(self.architecture)})

    def export(self, folder: Path) -> None:
        """Write a pipeline folder that diffusers loads by itself: `DDPMPipeline.from_pretrained(folder)`.

        Raises:
            InputError: a pruned or conditional model, for which diffusers has no such pipeline.
        """
        if any(
            mine.shape != whole.shape
            for mine, whole in zip(
                self.unet.parameters(), DDPM.build(self.architecture, seed=0).unet.parameters(), strict=True
            )
        ):
            raise InputError(
                "layers of a pruned net have widths of their own, which no configuration of diffusers states; export "
                "the base model, or give a UNet2DModel the widths by `models.pruning.fit_to_weights`"
            )
        if self.architecture.classes:
            raise InputError("diffusers has no pipeline of a UNet2DModel with classes; save its `unet` by itself")
        DDPMPipeline(self.unet, DDPMScheduler.from_config(self.scheduler.config)).save_pretrained(folder)

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> DDPM:
        """The model that `to_bytes` saved, pruned widths included."""
        weights, description = unpack(payload)
        del description["kind"]
        for name in ("block_channels", "attention"):
            description[name] = tuple(description[name])
        model = cls.build(Architecture(**description), seed=0)
        state = {name: torch.from_numpy(array) for name, array in weights.items()}
        fit_to_weights(model.unet, state)
        model.unet.load_state_dict(state)
        return model.to(resources.device)

"""What denoising diffusion models have in common (Ho et al. 2020), whether they denoise pixels or latents."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.choices import ImportanceName, PruningScope, SchedulerName
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.data.items import Shown
from royalty.models.generators.acceleration import compiled, in_bfloat16
from royalty.models.generators.denoising import Optimizing, adam, train
from royalty.models.generators.generator import (
    NOTHING_ELSE,
    DivergedError,
    Fits,
    Resources,
    ScaledImages,
    batches,
    fit_one_by_one,
)
from royalty.models.generators.libraries import UNet2DModel
from royalty.models.generators.pruning import Pruning, Size, fit_to_weights, prune, size_of
from royalty.models.generators.resume import Keeper
from royalty.models.generators.schedulers import solver
from royalty.models.generators.unets import Architecture, at_random_levels, build_unet, noise_schedule

SAMPLING_STEPS = 20
TAYLOR_BATCH = 64
TAYLOR_BATCHES = 8


class Denoiser(ABC):
    """A U-Net that denoises what stands for uint8 images, `(n, channels, height, width)`, maybe told their class.

    Attributes:
        unet: stays in evaluation mode: it has no layer that behaves otherwise in training, and in training mode
            diffusers copies the input of every shortcut.
        scheduler: adds the noise that it learns from.
    """

    KIND: ClassVar[str]

    PIXELS: ClassVar[bool]
    """Whether it denoises pixels: numbers in [-1, 1], which are mirrored with the image."""

    def __init__(self, unet: UNet2DModel, architecture: Architecture) -> None:
        self.unet = unet.eval()
        self.architecture = architecture
        self.scheduler = noise_schedule(architecture.objective)

    @abstractmethod
    def learned(self, images: np.ndarray) -> Tensor:
        """What the net learns of images: floats, `(n, *self.noise_shape)`, on its device."""

    def source(self, images: np.ndarray) -> Tensor | ScaledImages:
        """The same, by rows."""
        return self.learned(images)

    @abstractmethod
    def pictured(self, made: Tensor) -> np.ndarray:
        """The images that stand behind what the net made."""

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Weights and all else that `from_bytes` needs, as one safetensors payload."""

    @classmethod
    @abstractmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> Self:
        """The model that `to_bytes` saved, pruned widths included."""

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what is denoised."""
        return self.architecture.channels, self.architecture.image_size, self.architecture.image_size

    @property
    def device(self) -> torch.device:
        device: torch.device = self.unet.device
        return device

    def to(self, device: str) -> Self:
        self.unet.to(device)
        return self

    def untrained(self, *, seed: int) -> Self:
        """A model of the same shape, pruned widths included, with random weights."""
        fresh = self.copy()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in fresh.unet.modules():
                if isinstance(module, nn.Conv2d | nn.Linear | nn.GroupNorm | nn.Embedding):
                    module.reset_parameters()
        return fresh

    def copy(self) -> Self:
        """One whose net is trained apart; what is frozen is shared."""
        other = copy.copy(self)
        other.unet = copy.deepcopy(self.unet)
        return other

    def size(self) -> Size:
        return size_of(self.unet)

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
        classes, flip = self._classes(labels, len(images)), self.architecture.flip
        data = self.source(images)
        if flip and not self.PIXELS:
            data, flip = torch.cat([self.learned(images), self.learned(images[..., ::-1])]), False
            classes = None if classes is None else classes.repeat(2)
        net = self._net()
        if self.architecture.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        training = train(
            lambda noisy, times, told: net(noisy[0], times[0], None if told is None else told[0]).sample[None],
            list(self.unet.parameters()),
            [data],
            self.scheduler,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
            seeds=[seed],
            labels=None if classes is None else [classes],
            unlabelled=self.architecture.classes,
            flip=flip,
            mixed_precision=self.architecture.mixed_precision,
            gradient_accumulation=self.architecture.gradient_accumulation,
            keeper=keeper,
            optimizing=self.optimizing(),
        )
        losses = []
        for (loss,) in training:
            losses.append(loss)
            if not math.isfinite(loss):
                raise DivergedError(len(losses), loss, learning_rate)
            if progress is not None:
                progress(1)
        return losses

    def _net(self) -> Any:
        """The U-Net, compiled where that is worth it."""
        return compiled(self.unet, self.device, self.architecture.torch_compile)

    def optimizing(self) -> Optimizing:
        """How its weights are optimized."""
        return adam

    def fit_many(self, models: Sequence[Self], sets: Sequence[Shown], *, seeds: Sequence[int], **training: Any) -> Fits:
        """One after the other."""
        return fit_one_by_one(models, sets, seeds=seeds, **training)

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
        """Remove a share of the parameters, in place: see `royalty.models.generators.pruning.prune`.

        Args:
            images, labels: as of `fit`; Taylor importance is of their loss.
            seed: of that loss, or of random importance.
        """
        if importance == "taylor":
            self._backward(self.source(images), self._classes(labels, len(images)), seed)
        return prune(self.unet, ratio, importance=importance, scope=scope, seed=seed)

    def _backward(self, data: Tensor | ScaledImages, labels: Tensor | None, seed: int) -> None:
        """Leave the gradients of the training loss in the parameters, over some batches."""
        generator = torch.Generator().manual_seed(seed)
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
        """The sampler at its start: see `royalty.models.generators.schedulers.solver`.

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
        images, net = [], self._net()
        for index, start in enumerate(range(0, n, batch_size)):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
            size = min(batch_size, n - start)
            latent = torch.randn((size, *self.noise_shape), generator=generator).to(self.device)
            told = torch.arange(start, start + size, device=self.device) % max(self.architecture.classes, 1)
            solver = self.solver(steps, scheduler)
            for time in solver.timesteps:
                with in_bfloat16(self.device, self.architecture.mixed_precision):
                    predicted = self._predict(net, latent, time, told)
                latent = solver.step(predicted.float(), time, latent).prev_sample
            images.append(self.pictured(latent))
            if progress is not None:
                progress(size)
        return np.concatenate(images)

    def _predict(self, net: Any, latent: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """What the net says of a batch, guided by its classes if it knows any (Ho & Salimans 2022)."""
        classes, weight = self.architecture.classes, self.architecture.guidance
        if not classes:
            prediction: Tensor = net(latent, time).sample
            return prediction
        conditional: Tensor = net(latent, time, told).sample
        if weight == 1:
            return conditional
        free: Tensor = net(latent, time, torch.full_like(told, classes)).sample
        return free + weight * (conditional - free)

    def check_whole(self) -> None:
        """Refuse, for a folder that plain diffusers loads, what its pipelines have no place for.

        Raises:
            InputError: a pruned or a conditional model.
        """
        with torch.device("meta"):
            whole = build_unet(self.architecture)
        if any(
            mine.shape != other.shape for mine, other in zip(self.unet.parameters(), whole.parameters(), strict=True)
        ):
            raise InputError(
                "layers of a pruned net have widths of their own, which no configuration of diffusers states; export "
                "the base model, or give a UNet2DModel the widths by `royalty.models.generators.pruning.fit_to_weights`"
            )
        if self.architecture.classes:
            raise InputError("diffusers has no pipeline of a UNet2DModel with classes; save its `unet` by itself")

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Those of the net, by name."""
        return {name: tensor.cpu().numpy() for name, tensor in self.unet.state_dict().items()}


def fresh_unet(architecture: Architecture, *, seed: int) -> UNet2DModel:
    """A net with random weights, which has learned from nobody."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_unet(architecture)


def saved_unet(architecture: Architecture, weights: Mapping[str, np.ndarray]) -> UNet2DModel:
    """A net of saved weights, pruned widths included."""
    unet = fresh_unet(architecture, seed=0)
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    fit_to_weights(unet, state)
    unet.load_state_dict(state)
    return unet


def architecture_of(
    channels: int,
    size: int,
    labels: np.ndarray | None,
    *,
    block_channels: Sequence[int],
    attention: Sequence[int] = (),
    conditional: bool = False,
    **options: Any,
) -> Architecture:
    """The architecture of settings, for what is to be denoised, and for the classes of images if it is conditional.

    Raises:
        InputError: a conditional model of images that show one class.
    """
    classes = 0
    if conditional:
        classes = 0 if labels is None else int(labels.max()) + 1
        if classes < 2:
            raise InputError(
                f"a conditional generator learns from images of at least two labels, and these have {classes}; "
                "label what they show, or leave `conditional` out"
            )
    return Architecture(size, channels, tuple(block_channels), attention=tuple(attention), classes=classes, **options)


def architecture_from(description: Mapping[str, Any]) -> Architecture:
    """The architecture that JSON holds."""
    levels = {name: tuple(description[name]) for name in ("block_channels", "attention")}
    return Architecture(**{**description, **levels})

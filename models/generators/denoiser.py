"""The common base of denoising diffusion models (Ho et al. 2020) of pixels and of latents."""

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
from royalty.models.generators.acceleration import compiled, in_bfloat16, laid_out
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
from royalty.models.generators.schedulers import solver, times_of
from royalty.models.generators.unets import Architecture, at_random_levels, build_unet, noise_schedule

SAMPLING_STEPS, SAMPLING_BATCH = 20, 256
TAYLOR_BATCH = 64
TAYLOR_BATCHES = 8


class Denoiser(ABC):
    """A U-Net that denoises a representation of uint8 images, `(n, channels, height, width)`, optionally by class.

    Attributes:
        unet: stays in evaluation mode. No layer behaves differently in training mode, in which diffusers copies the
            input of every shortcut.
        scheduler: the noise schedule of training.
    """

    KIND: ClassVar[str]

    PIXELS: ClassVar[bool]
    """Whether it denoises pixels in [-1, 1]; a mirrored image is then the mirrored representation."""

    def __init__(self, unet: UNet2DModel, architecture: Architecture) -> None:
        self.unet = unet.eval()
        self.architecture = architecture
        self.scheduler = noise_schedule(architecture.objective)

    @abstractmethod
    def learned(self, images: np.ndarray) -> Tensor:
        """The representation of images that the net denoises: floats, `(n, *self.noise_shape)`, on its device."""

    def source(self, images: np.ndarray) -> Tensor | ScaledImages:
        """The representation as an object that is indexed by rows and may compute them on access."""
        return self.learned(images)

    def shown(self, images: np.ndarray) -> tuple[Tensor | ScaledImages, bool]:
        """The training data of images, and whether training mirrors it at random.

        Where a mirrored image is not the mirrored representation, the representations of the mirrored images follow.
        """
        if self.architecture.flip and not (self.PIXELS and self.architecture.patch == 1):
            return torch.cat([self.learned(images), self.learned(images[..., ::-1])]), False
        return self.source(images), self.architecture.flip

    @abstractmethod
    def pictured(self, samples: Tensor) -> np.ndarray:
        """The uint8 images of sampled representations."""

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Weights and description as one safetensors payload."""

    @classmethod
    @abstractmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> Self:
        """The model that `to_bytes` saved, pruned widths included."""

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the representation that is denoised."""
        return self.architecture.net_shape

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
        """A copy whose net is trained separately; frozen parts are shared."""
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
        """Train on images, from the current weights, and end with the averaged weights.

        The average starts anew with every call: an average carried over from another training would contain weights
        that these images did not influence.

        Args:
            images: uint8, `(items, channels, height, width)`, at least one.
            labels: int64, `(items,)`, for a conditional model.
            texts: ignored.
            steps: optimizer steps, at a constant learning rate; the average replaces a decay of the rate.
            ema_decay: upper bound of the decay (1 + t)/(10 + t) of the exponential moving average.
            seed: of batches, timesteps and noise.
            keeper: saves the state from time to time. A saved training is resumed; on one thread of a CPU it ends with
                bit-identical weights, provided that all other arguments are the same.

        Returns:
            The loss of each step: mean squared error of the prediction.

        Raises:
            InputError: a conditional model without labels.
            DivergedError: the loss is no longer finite. On a GPU, up to `readings.READ_EVERY` steps later are done.
        """
        classes = self.classes(labels, len(images))
        data, flip = self.shown(images)
        classes = None if classes is None else classes.repeat(len(data) // len(images))
        net = self._net()
        if self.architecture.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        training = train(
            lambda noisy, times, label: net(noisy[0], times[0], None if label is None else label[0]).sample[None],
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
        losses: list[float] = []
        for read in training:
            for (loss,) in read:
                losses.append(loss)
                if not math.isfinite(loss):
                    raise DivergedError(len(losses), loss, learning_rate)
            if progress is not None:
                progress(1)
        return losses

    def _net(self) -> Any:
        """The U-Net, laid out and compiled if the settings and the device call for it."""
        if self.optimizing() is adam:  # the 8-bit optimizer replaces weights by contiguous copies
            laid_out(self.unet, self.device)
        return compiled(self.unet, self.device, self.architecture.torch_compile)

    def optimizing(self) -> Optimizing:
        """The optimizer of the weights."""
        return adam

    def fit_many(self, models: Sequence[Self], sets: Sequence[Shown], *, seeds: Sequence[int], **training: Any) -> Fits:
        """Train the models one after the other."""
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
        """Remove a fraction of the parameters, in place: see `royalty.models.generators.pruning.prune`.

        Args:
            images, labels: as for `fit`; Taylor importance uses the gradients of their loss.
            seed: of the noise of that loss, or of random importance.
        """
        if importance == "taylor":
            self._backward(self.source(images), self.classes(labels, len(images)), seed)
        return prune(self.unet, ratio, importance=importance, scope=scope, seed=seed)

    def _backward(self, data: Tensor | ScaledImages, labels: Tensor | None, seed: int) -> None:
        """Accumulate the gradients of the training loss over `TAYLOR_BATCHES` batches in the parameters."""
        generator = torch.Generator().manual_seed(seed)
        self.unet.zero_grad()
        for batch in batches(len(data), TAYLOR_BATCH, TAYLOR_BATCHES, generator):
            noisy, times, target = at_random_levels(self.scheduler, data[batch], generator)
            classes = None if labels is None else labels[batch]
            loss = nn.functional.mse_loss(self.unet(noisy, times, classes).sample, target)
            loss.backward()  # type: ignore[no-untyped-call]

    def classes(self, labels: np.ndarray | None, items: int) -> Tensor | None:
        """The classes of the images as a tensor; None for an unconditional model.

        Raises:
            InputError: a conditional model without one label per image, or with a label out of range.
        """
        classes = self.architecture.classes
        if not classes:
            return None
        if labels is None or len(labels) != items or labels.min() < 0 or labels.max() >= classes:
            raise InputError(
                f"a generator of {classes} classes needs a label from 0 to {classes - 1} for each image; got "
                f"{'none' if labels is None else f'{len(labels)} labels up to {labels.max()}'} for {items} images. "
                "Label every image, or leave `conditional` out"
            )
        return torch.from_numpy(labels).to(self.device)

    def solver(self, steps: int, scheduler: SchedulerName = "unipc") -> Any:
        """A sampler in its initial state: see `royalty.models.generators.schedulers.solver`.

        UniPC is of second order: coalition utilities after 5 of its steps are closer to those after 50 DDIM steps than
        are those after 10 DDIM steps (`tests/benchmarks/sampling_variance.py`).
        """
        return solver(scheduler, self.scheduler.config, steps)

    @torch.inference_mode()
    def sample(
        self,
        n: int,
        *,
        seed: int,
        steps: int = SAMPLING_STEPS,
        scheduler: SchedulerName = "unipc",
        batch_size: int = SAMPLING_BATCH,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Generate images, deterministically from the initial noise.

        The initial noise of batch b depends on `seed` and b alone, so two models sampled with the same seed start from
        the same noise. Images cycle through the classes.

        Returns:
            uint8, `(n, channels, height, width)`.
        """
        images, net = [], self._net()
        for index, start in enumerate(range(0, n, batch_size)):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
            size = min(batch_size, n - start)
            latent = torch.randn((size, *self.noise_shape), generator=generator).to(self.device)
            if index and size < batch_size and net is not self.unet:  # a smaller batch would be compiled again
                latent = nn.functional.pad(latent, (0, 0, 0, 0, 0, 0, 0, batch_size - size))
            labels = torch.arange(start, start + len(latent), device=self.device) % max(self.architecture.classes, 1)
            solver = self.solver(steps, scheduler)
            for time, told in times_of(solver, self.device):
                with in_bfloat16(self.device, self.architecture.mixed_precision):
                    predicted = self.predict(net, latent, told, labels)
                latent = solver.step(predicted.float(), time, latent).prev_sample
            images.append(self.pictured(latent[:size]))
            if progress is not None:
                progress(size)
        return np.concatenate(images)

    def asked(self, label_names: Sequence[str]) -> tuple[str, ...]:
        return tuple(label_names[: self.architecture.classes])

    def predict(self, net: Any, latent: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
        """The net's prediction for a batch, with classifier-free guidance if it is conditional (Ho & Salimans 2022)."""
        classes, weight = self.architecture.classes, self.architecture.guidance
        if labels is None or not classes:
            prediction: Tensor = net(latent, time).sample
            return prediction
        conditional: Tensor = net(latent, time, labels).sample
        if weight == 1:
            return conditional
        unconditional: Tensor = net(latent, time, torch.full_like(labels, classes)).sample
        return unconditional + weight * (conditional - unconditional)

    def check_whole(self) -> None:
        """Check that the pipelines of diffusers can represent this model.

        Raises:
            InputError: a pruned or a conditional model, or one of patches.
        """
        with torch.device("meta"):
            whole = build_unet(self.architecture)
        if any(
            weight.shape != full.shape for weight, full in zip(self.unet.parameters(), whole.parameters(), strict=True)
        ):
            raise InputError(
                "diffusers exports have the widths of their configuration, and this net is pruned; export the base "
                "model, or resize a UNet2DModel with `royalty.models.generators.pruning.fit_to_weights`"
            )
        if self.architecture.patch > 1:
            raise InputError("diffusers has no pipeline of a UNet2DModel of patches; save its `unet` by itself")
        if self.architecture.classes:
            raise InputError("diffusers has no pipeline of a UNet2DModel with classes; save its `unet` by itself")

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights of the net, by name."""
        return {name: tensor.cpu().numpy() for name, tensor in self.unet.state_dict().items()}


def fresh_unet(architecture: Architecture, *, seed: int) -> UNet2DModel:
    """An untrained net with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_unet(architecture)


def saved_unet(architecture: Architecture, weights: Mapping[str, np.ndarray]) -> UNet2DModel:
    """A net with saved weights, pruned widths included."""
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
    """The architecture that the settings describe, with as many classes as the labels if it is conditional.

    Args:
        channels, size: of the representation that is denoised.

    Raises:
        InputError: a conditional model of images of fewer than two classes.
    """
    classes = 0
    if conditional:
        classes = 0 if labels is None else int(labels.max()) + 1
        if classes < 2:
            raise InputError(
                f"a conditional generator needs images of at least two classes; got {classes}. Label the images, or "
                "leave `conditional` out"
            )
    return Architecture(size, channels, tuple(block_channels), attention=tuple(attention), classes=classes, **options)


def architecture_from(description: Mapping[str, Any]) -> Architecture:
    """The architecture of a JSON description."""
    levels = {name: tuple(description[name]) for name in ("block_channels", "attention")}
    return Architecture(**{**description, **levels})

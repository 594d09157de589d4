"""The common base of the generators that decode a random code: beta-VAE and DCGAN."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.choices import ImportanceName, PruningScope, SchedulerName
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.base.serialization import pack, unpack
from royalty.models.base.shapes import ImageShape
from royalty.models.data.items import Shown
from royalty.models.generators.generator import (
    NOTHING_ELSE,
    Fits,
    Generator,
    Resources,
    fit_one_by_one,
    quantized,
    scaled,
)
from royalty.models.generators.kinds import FRAME
from royalty.models.generators.outline import Outline, outline_of
from royalty.models.generators.pruning import Pruning, Size, fit_to_weights, prune, size_of

SAMPLING_BATCH = 256

OUTLINED = ("parameters", "multiply_adds", "activations")


@dataclass(frozen=True)
class Part:
    """One of the nets of a generator.

    Attributes:
        example: inputs of the net for one image.
        ends: layers whose outputs stay when the net is pruned.
    """

    net: nn.Module
    example: tuple[Tensor, ...]
    ends: tuple[nn.Module, ...]


class LatentGenerator(nn.Module, ABC):
    """A decoder of standard normal codes into uint8 images, `(n, channels, height, width)`.

    Args:
        shape: `(channels, height, width)`, sides of at most 32.
        codes: dimensions of a code.
        decoder: from codes to pictures in [-1, 1], `(n, channels, 32, 32)`.
    """

    KIND: ClassVar[str]

    def __init__(self, shape: ImageShape, codes: int, decoder: nn.Sequential) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape) < 1 or max(shape[1:]) > FRAME:
            raise InputError(
                f"images are (channels, height, width) with sides of at most {FRAME}; got {tuple(shape)}. Resize them"
            )
        self.shape, self.codes, self.decoder = tuple(shape), codes, decoder

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def framed(self, images: np.ndarray) -> Tensor:
        """Scale images to [-1, 1] and pad them to `(n, channels, 32, 32)` with black.

        Raises:
            InputError: no images, or not uint8 of this generator's shape.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.shape or not len(images):
            raise InputError(
                f"this generator takes one or more uint8 images of shape (n, {', '.join(map(str, self.shape))}); got "
                f"{images.dtype} of shape {images.shape}. Convert them, or build a generator for their shape"
            )
        top, left = self._corner()
        bottom, right = FRAME - self.shape[1] - top, FRAME - self.shape[2] - left
        return nn.functional.pad(scaled(images, self.device), (left, right, top, bottom), value=-1.0)

    def asked(self, label_names: Sequence[str]) -> tuple[str, ...]:
        return ()

    @torch.inference_mode()
    def sample(
        self,
        n: int,
        *,
        seed: int,
        steps: int = 1,
        scheduler: SchedulerName = "unipc",
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Generate images from `n` codes that depend on the seed alone: uint8, `(n, channels, height, width)`.

        Args:
            steps, scheduler: ignored; one pass of the decoder makes an image.
        """
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randn((n, self.codes), generator=generator).to(self.device)
        top, left = self._corner()
        window = (..., slice(top, top + self.shape[1]), slice(left, left + self.shape[2]))
        images = []
        for part in torch.split(codes, SAMPLING_BATCH):
            images.append(quantized(self.decoder(part)[window]))
            if progress is not None:
                progress(len(part))
        return np.concatenate(images)

    def fit_many(self, models: Sequence[Self], sets: Sequence[Shown], *, seeds: Sequence[int], **training: Any) -> Fits:
        """Train the models one after the other."""
        return fit_one_by_one(cast(Sequence[Generator], models), sets, seeds=seeds, **training)

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
        """Remove a fraction of the parameters of each net, in place: see `royalty.models.generators.pruning.prune`.

        Raises:
            InputError: Taylor importance, which is not defined for nets trained by several losses.
        """
        if importance == "taylor":
            raise InputError(
                f"a {self.KIND} is pruned by magnitude or at random; got taylor. Set `pruning.importance` to magnitude"
            )
        before = self.size().parameters
        for part in self.parts():
            prune(part.net, ratio, importance=importance, scope=scope, seed=seed, example=part.example, ends=part.ends)
        return Pruning(removed=1 - self.size().parameters / before, asked=ratio)

    def size(self) -> Size:
        """Parameters of all nets, and multiply-adds of one pass of each."""
        sizes = [size_of(part.net, part.example) for part in self.parts()]
        return Size(sum(size.parameters for size in sizes), sum(size.multiply_adds for size in sizes))

    def untrained(self, *, seed: int) -> Self:
        """A generator of the same widths with random weights."""
        fresh = self.copy()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for layer in fresh.modules():
                fresh.initialize(layer)
        return fresh

    def copy(self) -> Self:
        return copy.deepcopy(self)

    @abstractmethod
    def initialize(self, layer: nn.Module) -> None:
        """Initialize the weights of a layer, if it has any, at random."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """The nets that are pruned and measured separately, in evaluation mode."""

    @classmethod
    def for_images(cls, shown: Shown, *, seed: int, resources: Resources, **settings: Any) -> Self:
        """A generator for images of this shape, with random weights.

        Raises:
            InputError: images with a side of more than 32 pixels.
        """
        channels, height, width = shown.images.shape[1:]
        return cls((channels, height, width), **{**settings, "seed": seed}).to(resources.device)

    @classmethod
    def outline(cls, shape: ImageShape, **settings: Any) -> Outline:
        """The outline of a generator for images of a shape."""
        with torch.device("meta"):
            parts = [outline_of(part.net, part.example) for part in cls(shape, **{**settings, "seed": 0}).parts()]
        return Outline(*(sum(getattr(part, name) for part in parts) for name in OUTLINED))

    def to_bytes(self) -> bytes:
        """Weights and description as one safetensors payload."""
        weights = {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}
        return pack(weights, {"kind": self.KIND, **self.description()})

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> Self:
        """The generator that `to_bytes` saved, pruned widths included."""
        weights, description = unpack(payload)
        del description["kind"]
        model = cls(**{**description, "seed": 0})
        state = {name: torch.from_numpy(array) for name, array in weights.items()}
        fit_to_weights(model, state)
        model.load_state_dict(state)
        return model.to(resources.device)

    def description(self) -> dict[str, Any]:
        """Constructor arguments of a generator of this shape, without the seed."""
        return {"shape": self.shape}

    def _corner(self) -> tuple[int, int]:
        return (FRAME - self.shape[1]) // 2, (FRAME - self.shape[2]) // 2

"""One model that is told the coalition, in place of a model of each coalition."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.base.serialization import description_of, pack, unpack
from royalty.models.data.items import ImageSet
from royalty.models.generators.denoiser import Denoiser
from royalty.models.generators.denoising import train
from royalty.models.generators.generator import DivergedError, Generator
from royalty.models.generators.mixture import images_of_members


class Conditioned:
    """A denoiser that is told a coalition: its embedding of time e(t) becomes e(t) + P s.

    s are the fractions of a coalition's images that its members brought, `(contributors,)`; they sum to 1. The shift
    P s is the same at every time, so that the model that is told s is a model of the same shape with another bias.

    Args:
        model: what is told nothing.
        projection: P, float32, `(numbers of the embedding, contributors)`.
    """

    KIND: ClassVar[str] = "conditioned"

    def __init__(self, model: Denoiser, projection: np.ndarray) -> None:
        self.model, self.projection = model, projection

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the model as it is saved."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def told(self, fractions: np.ndarray) -> Denoiser:
        """A copy of the model that is told these fractions, `(contributors,)`."""
        model = self.model.copy()
        shift = torch.from_numpy(self.projection.astype(np.float64) @ fractions)
        with torch.no_grad():
            bias = model.unet.time_embedding.linear_2.bias
            bias += shift.to(bias)
        return model

    def sample(self, n: int, *, seed: int, **settings: Any) -> np.ndarray:
        """Images of the model that is told nothing: see `Generator.sample`."""
        return self.model.sample(n, seed=seed, **settings)

    def asked(self, label_names: Sequence[str]) -> tuple[str, ...]:
        """See `Generator.asked`."""
        return self.model.asked(label_names)

    def to_bytes(self) -> bytes:
        """The saved model and the projection in one payload."""
        model = np.frombuffer(self.model.to_bytes(), np.uint8)
        return pack({"model": model, "projection": self.projection}, {"kind": self.KIND})

    @classmethod
    def from_bytes(cls, payload: bytes, load: Callable[[bytes], Generator]) -> Conditioned:
        """The model that `to_bytes` saved.

        Args:
            load: loads the saved denoiser.
        """
        arrays, _ = unpack(payload)
        return cls(_denoiser(load(arrays["model"].tobytes())), arrays["projection"])


class Told:
    """The model of one coalition: a model of all of them that is told this one.

    Args:
        fractions: s of the coalition, `(contributors,)`; see `Conditioned`.
    """

    KIND: ClassVar[str] = "told"

    def __init__(self, whole: Conditioned, fractions: np.ndarray) -> None:
        self.whole, self.fractions = whole, fractions

    def sample(self, n: int, *, seed: int, **settings: Any) -> np.ndarray:
        """Generate images: see `Generator.sample`."""
        return self.whole.told(self.fractions).sample(n, seed=seed, **settings)

    def asked(self, label_names: Sequence[str]) -> tuple[str, ...]:
        """See `Generator.asked`."""
        return self.whole.asked(label_names)

    def to_bytes(self) -> bytes:
        """The digest of the model of all coalitions, and the fractions; that model is saved by itself."""
        return pack({"fractions": self.fractions}, {"kind": self.KIND, "whole": self.whole.digest})

    @classmethod
    def from_bytes(cls, payload: bytes, load: Callable[[str], Conditioned]) -> Told:
        """The model that `to_bytes` saved.

        Args:
            load: finds the model of all coalitions by its digest.
        """
        arrays, description = unpack(payload)
        return cls(load(description["whole"]), arrays["fractions"])

    @classmethod
    def is_saved_in(cls, payload: bytes) -> bool:
        """Whether a payload is the model of a coalition that a model of all of them is told."""
        return bool(description_of(payload)["kind"] == cls.KIND)


def fractions_of(data: ImageSet, mask: np.ndarray) -> np.ndarray:
    """The fraction of a coalition's images that each member brought, `(contributors,)`; 0 for others.

    An image of several members is divided equally among them.

    Args:
        mask: bool, `(contributors,)`; its members have images.
    """
    images = np.zeros(len(mask))
    images[mask] = images_of_members(data.membership[:, mask])
    fractions: np.ndarray = images / images.sum()
    return fractions


def fit_conditioned(
    start: Generator,
    data: ImageSet,
    *,
    public: np.ndarray,
    steps: int,
    batch_size: int,
    learning_rate: float,
    ema_decay: float,
    seed: int,
) -> tuple[Conditioned, list[float]]:
    """Train one model on images of random coalitions, each told its coalition.

    Each batch is of one coalition: the number of its members is uniform, they are drawn at random, and its images are
    drawn from all images of the coalition. P starts as zeros, so that before the first step the model is the start,
    whatever it is told.

    Args:
        start: an unconditional denoiser, from whose weights training starts; it is kept as it is.
        public: bool, `(contributors of the data,)`: who is in every coalition.
        steps, batch_size, learning_rate, ema_decay: see `Denoiser.fit`.
        seed: of coalitions, images, timesteps and noise.

    Returns:
        The model with averaged weights, and the loss of each step.

    Raises:
        InputError: the start is not an unconditional denoiser.
        DivergedError: the loss, or a weight after the last step, is not finite.
    """
    model = _denoiser(start).copy()
    embedding = model.unet.time_embedding
    projection = torch.zeros(embedding.linear_2.out_features, len(public), device=model.device, requires_grad=True)
    source, flip = model.shown(data.images)
    told = torch.zeros(len(public), device=model.device)

    def rows() -> Iterator[Tensor]:
        for items, fractions in _batches(data, public, steps, batch_size, len(source), seed):
            told.copy_(torch.from_numpy(fractions))
            yield torch.from_numpy(items)

    def predict(noisy: Tensor, times: Tensor, _: Tensor | None) -> Tensor:
        predicted: Tensor = model.unet(noisy[0], times[0]).sample
        return predicted[None]

    weights = [*model.unet.parameters(), projection]
    losses: list[float] = []
    hook = embedding.register_forward_hook(lambda module, given, embedded: embedded + projection @ told)
    try:
        training = train(
            predict,
            weights,
            [source],
            model.scheduler,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema_decay=ema_decay,
            seeds=[seed],
            rows=[rows()],
            flip=flip,
            mixed_precision=model.architecture.mixed_precision,
            gradient_accumulation=model.architecture.gradient_accumulation,
            optimizing=model.optimizing(),
        )
        for (loss,) in chain.from_iterable(training):
            losses.append(loss)
            if not math.isfinite(loss):
                raise DivergedError(len(losses), loss, learning_rate)
    finally:
        hook.remove()
    if not all(bool(weight.isfinite().all()) for weight in weights):
        raise DivergedError(steps, math.nan, learning_rate)
    return Conditioned(model, projection.detach().cpu().numpy()), losses


def _batches(
    data: ImageSet, public: np.ndarray, steps: int, batch_size: int, rows: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each step, draw a coalition and images of it.

    Args:
        rows: of the training data, a multiple of the images: they come first, then, if any, the mirrored ones.

    Yields:
        Rows of the training data, `(batch_size,)`, and the fractions of the coalition, `(contributors,)`.
    """
    rng = np.random.default_rng(seed)
    brings = data.membership.any(axis=0)
    players, always = np.flatnonzero(brings & ~public), brings & public
    for _ in range(steps):
        size = rng.integers(0 if always.any() else 1, len(players) + 1)
        mask = always.copy()
        mask[players[rng.permutation(len(players))[:size]]] = True
        items = rng.choice(data.of_coalition(mask), batch_size)
        if rows > len(data):
            items = items + len(data) * rng.integers(0, rows // len(data), batch_size)
        yield items, fractions_of(data, mask)


def _denoiser(model: Generator) -> Denoiser:
    if not isinstance(model, Denoiser) or model.architecture.classes:
        kind = f"conditional {model.KIND}" if isinstance(model, Denoiser) else model.KIND
        raise InputError(
            f"amortized tells a coalition to an unconditional diffusion model of pixels or latents, and this generator "
            f"is a {kind}; set `coalitions: {{method: sparsified}}`"
        )
    return model

"""What a user adds to the registries: one builder of each sort, in one module."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from royalty.models.base.progress import Progress
from royalty.models.base.shapes import ImageShape
from royalty.models.distances.distance import FeatureDistance, euclidean
from royalty.models.encoders import registry
from royalty.models.generators.dcgan import DCGAN
from royalty.models.properties.property import Context, Property, error_of_mean


class RowMeans:
    """An encoder: the mean of each row of pixels."""

    def __init__(self, shape: ImageShape, scale: float) -> None:
        self.name, self.dimensions, self.scale = f"row-means-{scale}", shape[1], scale

    def embed(self, images: Tensor) -> Tensor:
        return self.scale * images.mean((1, 3))

    def features(self, images: np.ndarray, *, batch_size: int = 256, progress: Progress | None = None) -> np.ndarray:
        if progress is not None:
            progress(len(images))
        return (self.scale * images.mean((1, 3)) / 255).astype(np.float32)


def build_encoder(*, shape: ImageShape, device: str, scale: float) -> RowMeans:
    return RowMeans(shape, scale)


def build_scaled(folder: Path, *, shape: ImageShape, device: str) -> RowMeans:
    return RowMeans(shape, float((folder / "scale.txt").read_text()))


def build_distance(*, shape: ImageShape, device: str) -> FeatureDistance:
    return FeatureDistance("row-means", RowMeans(shape, 1.0), euclidean)


class Darkness:
    """A judge of quality: how dark an image is."""

    name = "darkness"

    def scores(self, images: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
        return (1 - images.mean((1, 2, 3)) / 255).astype(np.float32)


def build_quality(*, device: str) -> Darkness:
    return Darkness()


def build_property(context: Context, network: str) -> Property:
    encoder = registry.build_encoder(network, shape=context.reference.shape[1:], device=context.device)
    return Property(lambda images: 1 - encoder.features(images).mean(1), lambda rows: float(rows.mean()), error_of_mean)


class Tinted(DCGAN):
    """A generator with a setting of its own: a level that is added to all pixels."""

    KIND: ClassVar[str] = "tinted"

    def __init__(self, shape: ImageShape, *, tint: int = 0, seed: int) -> None:
        super().__init__(shape, seed=seed)
        self.tint = tint

    def sample(self, n: int, **settings: Any) -> np.ndarray:
        return np.clip(super().sample(n, **settings).astype(int) + self.tint, 0, 255).astype(np.uint8)

    def description(self) -> dict[str, Any]:
        return {**super().description(), "tint": self.tint}

"""Perceptual distances of pairs of images, each a distance of features, so that an image is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.encoders.encoder import Encoder

EPSILON = 1e-10
"""Added to the length of a channel vector, as LPIPS does."""


class Distance(Protocol):
    """How far apart images are, by the features of an encoder.

    Attributes:
        name: of the distance; with the encoder's, it stands for all that a distance depends on.
        encoder: whose `features` are compared, and may be kept by its name.
    """

    @property
    def name(self) -> str: ...

    @property
    def encoder(self) -> Encoder: ...

    def between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Distances of features row by row; float32, `(rows,)`, lower is nearer, 0 of a row from itself."""
        ...


@dataclass(frozen=True)
class FeatureDistance:
    """A distance from an encoder and a formula over rows of its features."""

    name: str
    encoder: Encoder
    formula: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Distances of `(rows, dimensions)` features row by row; float32, `(rows,)`, lower is nearer.

        Raises:
            InputError: the features are not float32 or float64, or not of one shape.
        """
        for side in (left, right):
            if side.dtype not in (np.float32, np.float64):
                raise InputError(
                    f"distances take features of float32 or float64, for they are small beside the features; "
                    f"these are {side.dtype}. Keep features as the encoder gives them"
                )
        if left.shape != right.shape or left.ndim != 2:
            raise InputError(
                f"pairs are rows of two arrays of one shape, (rows, dimensions); these are {left.shape} and "
                f"{right.shape}. Take the same number of rows of both"
            )
        return self.formula(left, right).astype(np.float32)


def euclidean(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.sqrt(squared_euclidean(left, right))
    return distances


def squared_euclidean(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    difference = left - right
    squares: np.ndarray = np.einsum("ij,ij->i", difference, difference)
    return squares


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """1 - cosine of the angle, in [0, 2].

    Raises:
        InputError: a row is zero, and has no direction.
    """
    lengths = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
    zero = np.flatnonzero((lengths[0] == 0) | (lengths[1] == 0))
    if len(zero):
        raise InputError(f"row {zero[0]} of the features is zero, which has no direction; leave that image out")
    unit = left / lengths[0][:, None], right / lengths[1][:, None]
    # Half the squared distance of unit vectors: 1 - their product would round near 0 to either side of it.
    return squared_euclidean(*unit) / 2


def stacked(maps: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Vectors whose squared Euclidean distance is LPIPS (Zhang et al. 2018, eq. 1).

    LPIPS is the sum over layers of the mean over pixels of `w (y - y')^2`, where y are the channels of a pixel scaled
    to length one. So each map is scaled by `sqrt(w / pixels)`, and all are laid side by side.

    Args:
        maps: activations of each layer, `(items, channels, height, width)`.
        weights: of the channels, at least 0, `(channels,)` a layer; 1 unless given.

    Returns:
        `(items, sum of channels x height x width)`.
    """
    parts = []
    for layer, activations in enumerate(maps):
        lengths = torch.linalg.vector_norm(activations, dim=1, keepdim=True)
        scaled = activations / (lengths + EPSILON) / activations[0, 0].numel() ** 0.5
        if weights is not None:
            scaled = scaled * weights[layer].sqrt().view(1, -1, 1, 1)
        parts.append(scaled.flatten(1))
    return torch.cat(parts, dim=1)

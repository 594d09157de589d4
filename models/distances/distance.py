"""Perceptual distances between images, computed from features, so that each image is encoded once."""

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
"""Added to the norm of a channel vector before division, as in LPIPS."""


class Distance(Protocol):
    """A distance between images, computed from the features of an encoder.

    Attributes:
        name: identifies the distance; together with the encoder's name, it identifies everything that a distance
            depends on.
        encoder: computes the features that are compared; they can be stored under its name.
    """

    @property
    def name(self) -> str: ...

    @property
    def encoder(self) -> Encoder: ...

    def between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Distances between corresponding rows of features; float32, `(rows,)`, lower is nearer, 0 for equal rows."""
        ...


@dataclass(frozen=True)
class FeatureDistance:
    """A distance defined by an encoder and a formula for pairs of its feature rows."""

    name: str
    encoder: Encoder
    formula: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Distances between corresponding rows of `(rows, dimensions)` features; float32, `(rows,)`, lower is nearer.

        Raises:
            InputError: the features are not float32 or float64, or their shapes differ.
        """
        for side in (left, right):
            if side.dtype not in (np.float32, np.float64):
                raise InputError(
                    f"distances need features of float32 or float64, because small differences are lost in lower "
                    f"precision; got {side.dtype}. Pass the features as the encoder returns them"
                )
        if left.shape != right.shape or left.ndim != 2:
            raise InputError(
                f"pairs are corresponding rows of two arrays of the same shape, (rows, dimensions); got {left.shape} "
                f"and {right.shape}. Pass the same number of rows for both"
            )
        return self.formula(left, right).astype(np.float32)


def euclidean(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """|x - y| of each pair of rows, `(rows,)`."""
    distances: np.ndarray = np.sqrt(squared_euclidean(left, right))
    return distances


def squared_euclidean(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """|x - y|^2 of each pair of rows, `(rows,)`."""
    difference = left - right
    squares: np.ndarray = np.einsum("ij,ij->i", difference, difference)
    return squares


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """1 - cosine of the angle of each pair of rows, `(rows,)`, in [0, 2].

    Raises:
        InputError: a row is zero, so it has no direction.
    """
    lengths = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
    zero = np.flatnonzero((lengths[0] == 0) | (lengths[1] == 0))
    if len(zero):
        raise InputError(
            f"cosine distances need features with a direction, and row {zero[0]} of the features is zero; remove that "
            "image"
        )
    unit = left / lengths[0][:, None], right / lengths[1][:, None]
    # Half the squared distance of unit vectors. Computed as 1 - product, small distances could round below 0.
    return squared_euclidean(*unit) / 2


def stacked(maps: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Vectors whose squared Euclidean distance is LPIPS (Zhang et al. 2018, eq. 1).

    LPIPS is the sum over layers of the mean over pixels of `w (y - y')^2`, where y are the channels of a pixel scaled
    to length one. Therefore each map is scaled by `sqrt(w / pixels)`, and the maps are concatenated.

    Args:
        maps: activations of each layer, `(items, channels, height, width)`.
        weights: channel weights of each layer, `(channels,)`, at least 0; None: all 1.

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

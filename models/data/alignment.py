"""Whether one image is a part of another, mirrored, moved, recoloured or compressed again.

Two images of one thing have the same edges at the same places once the right part, size and mirroring is found. The
score is the correlation of their edges at the best alignment, as in template matching by normalized cross-correlation
(Lewis 1995), over the sizes of `TEMPLATES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SIDE = 32
"""Side in pixels at which images are compared."""

BLUR = 2.0
"""Standard deviation in pixels of the Gaussian whose result is subtracted: shading changes when an image is recoloured,
edges stay; and images of different things often share their shading."""

TEMPLATES = ((0.8, 1.0), (1.0, 1.0), (1.0, 0.9), (1.0, 0.8), (1.0, 0.7), (1.0, 0.6))
"""What is sought: the central part of an image, as a fraction of its side, resized by a factor. The first finds images
that were moved, the others images that were cut out."""

WEIGHTS = (0.299, 0.587, 0.114)
"""Luminance of red, green and blue."""

FLAT = 1e-3
"""Standard deviation of edges, of values in [0, 1], below which a place is blank and resembles anything."""

PAIRS = 2048
"""Pairs aligned at a time."""


def luminance_of(images: np.ndarray) -> Tensor:
    """Luminance of images at 32 pixels, in [0, 1], float32, `(items, 32, 32)`.

    Args:
        images: uint8, `(items, 1 or 3, height, width)`.
    """
    parts = []
    for start in range(0, len(images), PAIRS):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + PAIRS])).float() / 255
        grey = part if part.shape[1] == 1 else (part * torch.tensor(WEIGHTS).view(3, 1, 1)).sum(1, keepdim=True)
        if grey.shape[-2:] != (SIDE, SIDE):
            grey = functional.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True)
        parts.append(grey[:, 0])
    return torch.cat(parts)


def similarity(luminance: Tensor, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How well pairs of images align, float32, `(pairs,)`, in [-1, 1]; 1 for the same edges.

    Symmetric: either may be the part.

    Args:
        luminance: the result of `luminance_of`.
        left, right: rows of the images of each pair, `(pairs,)`.
    """
    scores = np.empty(len(left), dtype=np.float32)
    for start in range(0, len(left), PAIRS):
        pairs = slice(start, min(start + PAIRS, len(left)))
        rows, places = np.unique(np.concatenate([left[pairs], right[pairs]]), return_inverse=True)
        one, other = torch.from_numpy(places).view(2, -1)
        scores[pairs] = _best(luminance[torch.from_numpy(rows)], one, other).numpy()
    return scores


def _best(images: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The highest correlation of a part of an image of each pair with a place of the other, `(pairs,)`.

    What depends on one image alone is computed once for each image.
    """
    edges = _edges(images)
    spectra = torch.fft.rfft2(edges)
    sums, squares = (functional.pad(table.cumsum(1).cumsum(2), (1, 0, 1, 0)) for table in (edges, edges.square()))
    best = torch.full((len(one),), -1.0)
    for template in _templates(images):
        side = template.shape[-1]
        centred = template - template.mean((1, 2), keepdim=True)
        parts = torch.fft.rfft2(centred, s=(SIDE, SIDE)).conj().resolve_conj()
        part_lengths = centred.square().sum((1, 2)).sqrt()
        windows = _windows(squares, side) - _windows(sums, side).square() / side**2
        window_lengths = windows.clamp(min=0).sqrt()
        for whole, part in ((one, other), (other, one)):
            products = _products(spectra[whole], parts[part], SIDE - side + 1)
            lengths = window_lengths[whole] * part_lengths[part].view(-1, 1, 1)
            correlations = products / lengths.clamp(min=(FLAT * side) ** 2)
            best = torch.maximum(best, correlations.amax((1, 2)))
    return best


def _products(wholes: Tensor, parts: Tensor, places: int) -> Tensor:
    """Inner products at the first places of both axes, `(pairs, places, places)`, from spectra.

    The inverse transform at a few places is two small products of matrices.
    """
    turns, halves = _inverse(places)
    return torch.view_as_real(turns @ (wholes * parts)).flatten(2) @ halves


@cache
def _inverse(places: int) -> tuple[Tensor, Tensor]:
    """The inverse real transform of two axes at the first places, as matrices for the first and the last axis."""
    angles = 2 * torch.pi / SIDE * torch.outer(torch.arange(places), torch.arange(SIDE)).double()
    turns = torch.polar(torch.ones_like(angles), angles) / SIDE
    folded = torch.full((SIDE // 2 + 1,), 2.0).double()  # of real signals, half of the spectrum says all
    folded[[0, -1]] = 1
    turned = (turns[:, : SIDE // 2 + 1] * folded).T
    return turns.to(torch.complex64), torch.stack([turned.real, -turned.imag], 1).flatten(0, 1).float()


def _templates(part: Tensor) -> Iterator[Tensor]:
    """Edges of central parts of images, resized and mirrored, `(pairs, side, side)`."""
    for fraction, factor in TEMPLATES:
        size = round(SIDE * factor)
        resized = part if size == SIDE else _resized(part, size)
        margin = round(size * (1 - fraction) / 2)
        template = _edges(resized)[:, margin : size - margin, margin : size - margin]
        yield template
        yield template.flip(-1)


def _resized(images: Tensor, side: int) -> Tensor:
    return functional.interpolate(images[:, None], (side, side), mode="bilinear", antialias=True)[:, 0]


def _windows(table: Tensor, side: int) -> Tensor:
    """Sums over all squares of a side, from a summed-area table, `(pairs, places, places)`."""
    return table[:, side:, side:] - table[:, :-side, side:] - table[:, side:, :-side] + table[:, :-side, :-side]


def _edges(images: Tensor) -> Tensor:
    """Square images, `(items, side, side)`, less themselves blurred by a Gaussian; edges of the image are mirrored."""
    blur = _blur(images.shape[-1])
    return images - blur.T @ images @ blur


@cache
def _blur(side: int) -> Tensor:
    """The Gaussian along one axis as a matrix, `(side, side)`: for images this small, products beat convolutions."""
    radius = int(3 * BLUR)
    steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(steps**2) / (2 * BLUR**2))
    padded = functional.pad(torch.eye(side)[:, None], (radius, radius), mode="reflect")
    return functional.conv1d(padded, (kernel / kernel.sum()).view(1, 1, -1))[:, 0]

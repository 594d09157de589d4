"""Whether one image is a part of another, mirrored, moved, recoloured or compressed again.

Two images of one thing have the same edges at the same places once the right part, size and mirroring is found. The
score is the correlation of their edges at the best alignment, as in template matching by normalized cross-correlation
(Lewis 1995), over the sizes of `TEMPLATES`.
"""

from __future__ import annotations

from collections.abc import Iterator

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
        one, other = luminance[torch.from_numpy(left[pairs])], luminance[torch.from_numpy(right[pairs])]
        best = torch.maximum(_best(one, other), _best(other, one))
        scores[pairs] = best.numpy()
    return scores


def _best(whole: Tensor, part: Tensor) -> Tensor:
    """The highest correlation of the parts with a place of the wholes, `(pairs,)`."""
    edges = _edges(whole)
    spectrum = torch.fft.rfft2(edges)
    sums, squares = (functional.pad(table.cumsum(1).cumsum(2), (1, 0, 1, 0)) for table in (edges, edges.square()))
    best = torch.full((len(whole),), -1.0)
    for template in _templates(part):
        side = template.shape[-1]
        places = SIDE - side + 1
        centred = template - template.mean((1, 2), keepdim=True)
        padded = torch.fft.rfft2(centred, s=(SIDE, SIDE))
        products = torch.fft.irfft2(spectrum * padded.conj(), s=(SIDE, SIDE))[:, :places, :places]
        window = _windows(squares, side) - _windows(sums, side).square() / side**2
        lengths = (window.clamp(min=0) * centred.square().sum((1, 2)).view(-1, 1, 1)).sqrt()
        correlations = products / lengths.clamp(min=(FLAT * side) ** 2)
        best = torch.maximum(best, correlations.amax((1, 2)))
    return best


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
    """Images, `(items, height, width)`, less themselves blurred by a Gaussian; edges of the image are mirrored."""
    radius = int(3 * BLUR)
    steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(steps**2) / (2 * BLUR**2))
    kernel = kernel / kernel.sum()
    padded = functional.pad(images[:, None], (radius,) * 4, mode="reflect")
    blurred = functional.conv2d(functional.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return images - blurred[:, 0]

"""Perceptual hashes: 64 bits that stay nearly the same when an image is compressed again or its brightness changes."""

from __future__ import annotations

import faiss
import numpy as np
from scipy.fft import dctn

FREQUENCIES = 8
"""Lowest frequencies of each direction, one bit each."""

NEAREST = 2
"""Images of nearest hash that are candidates of each image."""


def perceptual_hashes(luminance: np.ndarray) -> np.ndarray:
    """Which of the 64 lowest frequencies of an image are above their median, uint8, `(items, 8)`.

    Args:
        luminance: `(items, side, side)`.
    """
    waves = dctn(luminance, axes=(1, 2))[:, :FREQUENCIES, :FREQUENCIES].reshape(len(luminance), -1)
    waves[:, 0] = 0  # the mean brightness
    bits = waves > np.median(waves, axis=1, keepdims=True)
    return np.packbits(bits, axis=1)


def nearest_hashes(luminance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images whose hashes are nearest, and pairs of an image and a mirrored one, int64 rows, both `(pairs,)`.

    Every hash is compared with every other, in about a nanosecond.
    """
    plain, mirrored = perceptual_hashes(luminance), perceptual_hashes(luminance[:, :, ::-1])
    index = faiss.IndexBinaryFlat(8 * plain.shape[1])
    index.add(plain)
    found = [index.search(codes, min(NEAREST + 1, len(plain)))[1] for codes in (plain, mirrored)]
    rows = np.concatenate(found, axis=1)  # (items, candidates)
    return np.repeat(np.arange(len(rows)), rows.shape[1]), rows.ravel()

"""Perceptual hashes: 64 bits that stay nearly the same when an image is compressed again or its brightness changes."""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

from royalty.models.data.hamming import nearest

FREQUENCIES = 8
"""Lowest frequencies of each direction, one bit each."""

NEAREST = 2
"""Images of nearest hash that are candidates of each image."""

BLOCK = 4096
"""Images hashed at a time, which bounds the memory."""


def perceptual_hashes(luminance: np.ndarray) -> np.ndarray:
    """Which of the 64 lowest frequencies of an image are above their median, as a number, uint64, `(items,)`.

    Args:
        luminance: `(items, side, side)`.
    """
    codes = np.empty(len(luminance), np.uint64)
    for start in range(0, len(luminance), BLOCK):
        block = luminance[start : start + BLOCK]
        waves = dctn(block, axes=(1, 2))[:, :FREQUENCIES, :FREQUENCIES].reshape(len(block), -1)
        waves[:, 0] = 0  # the mean brightness
        bits = waves > np.median(waves, axis=1, keepdims=True)
        codes[start : start + BLOCK] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return codes


def nearest_hashes(luminance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images of nearest hash, and pairs of an image and a mirrored one, int64 rows, both `(pairs,)`."""
    plain, mirrored = perceptual_hashes(luminance), perceptual_hashes(luminance[:, :, ::-1])
    count = min(NEAREST + 1, len(plain))  # an image is the nearest to itself
    rows = np.concatenate([nearest(plain, codes, count) for codes in (plain, mirrored)], axis=1)  # (items, candidates)
    return np.repeat(np.arange(len(rows)), rows.shape[1]), rows.ravel()

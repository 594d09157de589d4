"""Made-up embeddings that neighbours are searched among."""

from __future__ import annotations

import numpy as np

CLASSES, LATENT, HIDDEN = 100, 24, 64
PIECE = 100_000


def embeddings(items: int, dimensions: int, *, seed: int) -> np.ndarray:
    """A curved mixture of 100 classes that vary in 24 directions, float32, `(items, dimensions)`.

    A point is drawn around the centre of its class in 24 dimensions, bent by a random layer of 64 tanh and mapped to
    all dimensions, with white noise of 0.05, a fourteenth of the deviation. As with an encoder's features, and
    unlike white noise, near and far neighbours differ. The map and the centres are the same for every seed.
    """
    fixed, generator = np.random.default_rng(99), np.random.default_rng(seed)
    centres = fixed.standard_normal((CLASSES, LATENT), dtype=np.float32)
    bend = fixed.standard_normal((LATENT, HIDDEN), dtype=np.float32) / np.sqrt(np.float32(LATENT))
    spread = fixed.standard_normal((HIDDEN, dimensions), dtype=np.float32) / np.sqrt(np.float32(HIDDEN))
    features = np.empty((items, dimensions), dtype=np.float32)
    for start in range(0, items, PIECE):
        piece = features[start : start + PIECE]
        latent = centres[generator.integers(CLASSES, size=len(piece))]
        latent += 0.7 * generator.standard_normal(latent.shape, dtype=np.float32)
        np.matmul(np.tanh(latent @ bend), spread, out=piece)
        piece += 0.05 * generator.standard_normal(piece.shape, dtype=np.float32)
    return features

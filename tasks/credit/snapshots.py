"""Worker code: images that a generator makes while it is trained. Imports no orchestration."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from royalty.infra.stores.artifacts import ArtifactStore, write_whole
from royalty.models.generators.generator import Generator

PARTS = 4
"""Images are made after each of this many equal parts of a training, except the last: its model is measured later."""
IMAGES, SAMPLING_STEPS = 16, 10
"""Of a snapshot. Few, because nothing is measured on them."""


class Snapshots:
    """A progress callback that samples the model which is being trained.

    Sampling has a random generator of its own, and changes no weight, so that the training is the same without it. The
    images are made by the current weights, before their averaging.

    Args:
        folder: keeps finished snapshots of an unfinished training. A training that resumes from a checkpoint reports
            its earlier steps again, with the weights of the checkpoint; their snapshots come from here.
    """

    def __init__(self, model: Generator, folder: Path, steps: int, seed: int) -> None:
        self.model, self.folder, self.seed = model, folder, seed
        self.due = sorted({part * steps // PARTS for part in range(1, PARTS)} - {0, steps})
        self.done = 0
        self.images: dict[int, np.ndarray] = {}

    def __call__(self, steps: int) -> None:
        self.done += steps
        while self.due and self.done >= self.due[0]:
            step = self.due.pop(0)
            self.images[step] = self._kept(step)

    def _kept(self, step: int) -> np.ndarray:
        file = self.folder / f"samples-{step}.npy"
        if not file.exists():
            images = self.model.sample(IMAGES, seed=self.seed, steps=SAMPLING_STEPS)
            write_whole(file, _npy(images))
        return np.asarray(np.load(file, allow_pickle=False))

    def stored(self, artifacts: ArtifactStore) -> dict[str, str]:
        """Digests of the stored images, `.npy` of uint8 `(n, channels, height, width)`, by step."""
        return {str(step): artifacts.put(_npy(images)) for step, images in self.images.items()}


def _npy(images: np.ndarray) -> bytes:
    stream = BytesIO()
    np.save(stream, images, allow_pickle=False)
    return stream.getvalue()

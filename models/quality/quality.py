"""What judges the quality of an image."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from royalty.models.base.progress import Progress


class Quality(Protocol):
    """A judgement of images, each alone.

    Attributes:
        name: stands for all that a score depends on, learned weights included.
    """

    @property
    def name(self) -> str: ...

    def scores(self, images: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
        """Scores of uint8 images, `(items, channels, height, width)`; float32, `(items,)`, in [0, 1], higher is
        better."""
        ...

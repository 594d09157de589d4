"""The interface of image quality metrics."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from royalty.models.base.progress import Progress


class Quality(Protocol):
    """A quality metric; the score of an image does not depend on other images.

    Attributes:
        name: identifies everything that a score depends on, including learned weights.
    """

    @property
    def name(self) -> str: ...

    def scores(self, images: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
        """Scores of uint8 images, `(items, channels, height, width)`; float32, `(items,)`, in [0, 1], higher is
        better."""
        ...

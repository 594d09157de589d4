"""The judges of image quality that compare the features of an encoder with those of the training images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from royalty.models.quality.local_density import NEIGHBOURS, LocalDensity
from royalty.models.quality.realism import Manifold, quality_of

Judge = Callable[[np.ndarray], np.ndarray]
"""Takes features of generated images, `(generated, dimensions)`, that `check_features` accepts beside those of the
training images; scores in [0, 1], `(generated,)`."""


def _realism(train: np.ndarray) -> Judge:
    manifold = Manifold(train)
    return lambda features: quality_of(manifold.realism(features))


def _density(train: np.ndarray) -> Judge:
    return LocalDensity(train, k=max(1, min(NEIGHBOURS, len(train) - 1))).scores


BY_FEATURES: Mapping[str, Callable[[np.ndarray], Judge]] = {"realism": _realism, "density": _density}
"""By name, what prepares a judge from the features of the training images, `(items, dimensions)`."""

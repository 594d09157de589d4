"""The global model properties that can be credited, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.properties.class_entropy import class_entropy
from models.properties.inception_score import inception_score

PropertyName = Literal["inception-score", "class-entropy"]


@dataclass(frozen=True)
class Property:
    """A scalar of the images that a model makes; higher is better.

    Attributes:
        of: from class probabilities of generated images, `(images, classes)`.
    """

    title: str
    meaning: str
    of: Callable[[np.ndarray], float]


PROPERTIES: dict[PropertyName, Property] = {
    "inception-score": Property(
        "Inception Score",
        "How recognizable and how varied the generated images are, to a classifier trained on images that the "
        "generator never saw: 1 when all look alike to it, the number of classes when each image is clearly of one "
        "class and all classes are equally common.",
        inception_score,
    ),
    "class-entropy": Property(
        "class entropy",
        "How evenly the generated images spread over the classes that a classifier sorts them into, one trained on "
        "images that the generator never saw: 0 when all are of one class, the logarithm of the number of classes "
        "when all are equally common.",
        class_entropy,
    ),
}

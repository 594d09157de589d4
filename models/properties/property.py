"""Global model properties: a scalar computed from generated images, with its sampling error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.base.weights import Weights, no_weights

ImageRows = np.ndarray
"""The per-image data that a property is computed from, one row per image: probabilities, features or scores."""

GROUPS = 20
"""Groups of images that the jackknife leaves out in turn; the relative error of its result is 1 / sqrt(2 * 19)."""

MOST = 100_000
"""Largest number of images of each model for a requested standard error."""


@dataclass(frozen=True)
class Context:
    """What images are measured with.

    Attributes:
        reference: real images that no generator saw, uint8, `(images, channels, height, width)`.
        classifier: from uint8 images to probabilities of classes, `(images, classes)`.
        device: of torch.
        weights: folders of weights, of which each network takes what it needs.
    """

    reference: np.ndarray
    classifier: Callable[[np.ndarray], np.ndarray]
    device: str = "cpu"
    weights: Weights = no_weights


@dataclass(frozen=True)
class Property:
    """A scalar of the images that a model makes; higher is more valuable.

    Attributes:
        read: from uint8 images to rows. A row depends on its own image only.
        statistic: from rows to the property.
        error: from rows to the standard error of the property, over draws of as many images; None: the jackknife.
        least: fewest images that it is defined for.
    """

    read: Callable[[np.ndarray], ImageRows]
    statistic: Callable[[ImageRows], float]
    error: Callable[[ImageRows], float] | None = None
    least: int = 2

    def of(self, images: np.ndarray) -> float:
        """The property of uint8 images, `(images, channels, height, width)`.

        Raises:
            InputError: too few images, or the property is not finite.
        """
        return self.measure(images)[0]

    def of_rows(self, rows: ImageRows) -> float:
        """The property of images that were read.

        Raises:
            InputError: too few images, or the property is not finite.
        """
        self._enough(len(rows), self.least)
        return self._finite(self.statistic(rows), len(rows))

    def stderr(self, images: np.ndarray) -> float:
        """Standard error of the property over draws of as many images, the reference being kept; at least 0.

        Raises:
            InputError: too few images: twice the fewest that the property is defined for are needed.
        """
        return self.measure(images, error=True)[1]

    def measure(self, images: np.ndarray, *, error: bool = False) -> tuple[float, float]:
        """The property, and its standard error if `error` is True, else NaN; each image is read once."""
        self._enough(len(images), 2 * self.least if error else self.least, error)
        rows = self.read(images)
        value = self._finite(self.statistic(rows), len(images))
        if not error:
            return value, math.nan
        stderr = jackknife(rows, self.statistic) if self.error is None else self.error(rows)
        return value, self._finite(stderr, len(images))

    def _enough(self, images: int, needed: int, error: bool = False) -> None:
        if images < needed:
            raise InputError(
                f"{'the error of ' * error}this property takes at least {needed} images, got {images}; "
                "raise `sampling.images`"
            )

    def _finite(self, number: float, images: int) -> float:
        if not math.isfinite(number):
            raise InputError(
                f"a property and its error are finite numbers, and of these {images} images one is {number}; make "
                "more images, or choose another `property`"
            )
        return float(number)

    def images_for(self, images: np.ndarray, stderr: float) -> int:
        """The number of images that gives a standard error, which decreases with the square root of the number.

        Args:
            images: a pilot sample; the larger, the more reliable the answer.
            stderr: the target, above 0, in units of the property.

        Raises:
            InputError: the target is not above 0 or needs more than `MOST` images, or the pilot is too small.
        """
        if not stderr > 0:
            raise InputError(f"a standard error to reach is above 0, got {stderr}")
        pilot_stderr = self.stderr(images)
        needed = max(self.least, math.ceil(len(images) * (pilot_stderr / stderr) ** 2))
        if needed > MOST:
            raise InputError(
                f"a standard error of {stderr:g} takes {needed:,} images of each model, and {MOST:,} are the most; of "
                f"{len(images)} images it is {pilot_stderr:.2g}. Raise `sampling.stderr`"
            )
        return needed


def jackknife(rows: ImageRows, statistic: Callable[[ImageRows], float], *, groups: int = GROUPS) -> float:
    """Standard error of a statistic by leaving out groups of rows (Efron and Stein 1981; Shao and Wu 1989).

    It is sqrt((g - 1)/g sum (s_i - mean s)^2) over the g statistics s_i of all rows except group i. Unlike the
    bootstrap it repeats no row; copies would distort nearest neighbours and covariances of few rows.

    Args:
        groups: largest number of groups; with fewer rows, each row is a group. Row i is in group i modulo that number.
    """
    groups = min(groups, len(rows))
    group = np.arange(len(rows)) % groups
    leave_out = np.array([statistic(rows[group != index]) for index in range(groups)])
    return float(np.sqrt((groups - 1) / groups * np.square(leave_out - leave_out.mean()).sum()))


def error_of_mean(values: np.ndarray) -> float:
    """Standard error of the mean of per-image values."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))

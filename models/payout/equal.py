"""Equal parts: the part of a pool that credit does not decide, and the part of credit that is the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean
from typing import Literal

from royalty.models.base.arrays import as_whole
from royalty.models.base.errors import InputError

EqualBy = Literal["contributor", "image"]


@dataclass(frozen=True)
class Parts:
    """Numbers of contributors, split into what is the same for all and what tells them apart.

    Attributes:
        equal: the mean. Of credit, it is an equal part of the jump from nobody's model to everybody's.
        apart: each number less the mean; they sum to zero.
    """

    equal: float
    apart: tuple[float, ...]

    @property
    def moved(self) -> float:
        """What the differences move from some contributors to others: half the sum of their absolute values."""
        return sum(map(abs, self.apart)) / 2


def parts_of(values: Sequence[float]) -> Parts:
    """Split numbers, at least one, into their mean and their differences from it."""
    equal = fmean(values)
    return Parts(equal, tuple(value - equal for value in values))


def equal_parts(
    total: Fraction, names: Sequence[str], by: EqualBy, images: Mapping[str, int] | None
) -> dict[str, Fraction]:
    """Divide a fraction of a pool equally.

    Args:
        by: the same for each contributor, or for each image.
        images: number of licensed images of each contributor; needed by image only.

    Returns:
        The part of each contributor, as a fraction of the pool; they sum to the total.

    Raises:
        InputError: numbers of images are missing, negative or all zero.
    """
    if by == "contributor" or not total:
        return dict.fromkeys(names, total / max(len(names), 1))
    if missing := [name for name in names if name not in (images or {})]:
        raise InputError(
            f"`equal_by: image` pays for each image, and the numbers of images of {', '.join(missing)} are unknown. "
            "Give them, or choose `equal_by: contributor`"
        )
    counts = {name: as_whole((images or {})[name], f"images[{name!r}]") for name in names}
    if min(counts.values()) < 0 or not any(counts.values()):
        raise InputError(
            f"`equal_by: image` pays for each image; numbers of images are at least 0, and not all 0, got {counts}. "
            "Correct them"
        )
    return {name: total * count / sum(counts.values()) for name, count in counts.items()}

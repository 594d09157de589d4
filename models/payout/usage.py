"""Division of a pool by use: a part for training, by credit, and a part for output, by what was generated.

Collecting societies divide licences for AI this way: a training part for having been learned from, and an output part
that follows the generations that a work stands behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from royalty.models.base.errors import InputError

Unattributable = Literal["training", "reserve", "use"]


@dataclass(frozen=True)
class Generation:
    """A generated image, and who stands behind it.

    Attributes:
        weight: what it earned, in any currency, or 1; at least 0.
        shares: by contributor, with the sum 1; empty if no training image is near enough.
    """

    id: str
    weight: Decimal
    shares: Mapping[str, float]


@dataclass(frozen=True)
class UseShares:
    """Shares of a pool, as fractions of the whole.

    Attributes:
        training, use: parts of each contributor, by name; those of `kept`, `training` and `use` sum to 1.
        kept: fraction that nobody gets.
        unattributed: fraction of the weight of all generations that is attributed to nobody.
    """

    training: Mapping[str, float]
    use: Mapping[str, float]
    kept: Fraction
    unattributed: float

    @property
    def total(self) -> dict[str, float]:
        """Both parts, by contributor, highest first."""
        names = {*self.training, *self.use}
        both = {name: self.training.get(name, 0.0) + self.use.get(name, 0.0) for name in names}
        return dict(sorted(both.items(), key=lambda part: (-part[1], part[0])))


def use_shares(
    generations: Iterable[Generation],
    credit: Mapping[str, Fraction],
    *,
    training: Fraction,
    unattributable: Unattributable,
) -> UseShares:
    """Divide a pool by credit and by use.

    A generation is worth its weight, divided among the contributors by their shares of it. Sums are exact before they
    are rounded, so that the order of the generations changes nothing.

    Args:
        credit: weights by contributor, of which the positive ones share the training part.
        training: fraction of the pool that is divided by credit, in [0, 1].
        unattributable: where the worth of generations without shares goes: to the `training` part, to the `reserve` of
            the pool, or to those who share the attributed `use`.

    Raises:
        InputError: no generation has weight; a part that is to be divided has nobody to be divided among; all of the
            pool would go to the reserve.
    """
    earned: dict[str, list[float]] = {}
    whole, lost = Fraction(0), Fraction(0)
    for generation in generations:
        weight = Fraction(generation.weight)
        whole += weight
        lost += weight if not generation.shares else 0
        for name, share in generation.shares.items():
            earned.setdefault(name, []).append(float(generation.weight) * share)
    if not whole:
        raise InputError(
            "a pool is divided by what was generated, and the period has no generation with revenue; pay it by credit "
            "alone, or check the period"
        )
    output, missing = 1 - training, lost / whole
    parts = {"training": training, "use": output * (1 - missing), "reserve": Fraction(0)}
    parts[unattributable] += output * missing
    if parts["reserve"] == 1:
        raise InputError(
            "a pool by use pays those behind what was generated, and no generation with revenue is "
            "attributable, so that all of the pool would go to the reserve; pay the period by credit alone"
        )
    by_use = {name: math.fsum(values) for name, values in sorted(earned.items())}
    by_credit = {name: float(weight) for name, weight in sorted(credit.items()) if weight > 0}
    return UseShares(
        training=_scaled(by_credit, parts["training"], "training part", "give `--credit` with positive credit"),
        use=_scaled(by_use, parts["use"], "output part", "let what is not attributable go to `training` or `reserve`"),
        kept=parts["reserve"],
        unattributed=float(missing),
    )


def _scaled(weights: Mapping[str, float], part: Fraction, title: str, remedy: str) -> dict[str, float]:
    """Weights scaled to a sum."""
    total = math.fsum(weights.values())
    if not part:
        return {}
    if not total:
        raise InputError(f"the {title}, {float(part):.1%} of the pool, is divided among nobody; {remedy}")
    return {name: float(part) * weight / total for name, weight in weights.items()}

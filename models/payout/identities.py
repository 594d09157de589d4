"""What identities are worth: how payouts change if contributors were one person, or one were two.

Two contributors with the same images may be one person under two names, and who is paid by head, by a floor or a tier,
gains by a second name. Neither is decided here; both are shown beside a payout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.duplicates import near_owners
from royalty.models.payout.division import Terms, divide_pool
from royalty.models.payout.policies import Credit
from royalty.models.valuation.shapley import estimate_shapley


@dataclass(frozen=True)
class Split:
    """A contributor under two names, each with half of the credit and of its interval.

    Attributes:
        one, two: minor units of the pool as one, and as two together.
    """

    name: str
    one: int
    two: int


def overlaps(images: np.ndarray, membership: np.ndarray, least: float = 0.5) -> list[tuple[int, int, float]]:
    """Pairs of contributors of whom one has at least a share of its images in common with the other, exactly or nearly.

    Args:
        images: uint8, `(items, channels, height, width)`, distinct ones.
        membership: bool, `(items, contributors)`; an exact copy is one item of several.
        least: share of the images of whoever has fewer.
    """
    near, counts, found = near_owners(images, membership), membership.sum(axis=0), []
    for larger in range(membership.shape[1]):
        for smaller in range(membership.shape[1]):
            if (counts[smaller], smaller) < (counts[larger], larger):
                share = float(near[membership[:, smaller], larger].mean())
                if share >= least:
                    found.append((min(larger, smaller), max(larger, smaller), share))
    return sorted(found)


def merge(masks: np.ndarray, utilities: np.ndarray, null: float, grand: float, pair: tuple[int, int]) -> float | None:
    """Credit of two contributors as one, in the game in which they come together or not at all.

    Args:
        masks: bool, `(m, n)`.
        utilities: `(m,)`.
        pair: columns of the two.

    Returns:
        None if too few coalitions were measured with both or neither.
    """
    first, second = pair
    rows = masks[:, first] == masks[:, second]
    joined = np.delete(masks[rows], second, axis=1)
    place = first - (second < first)
    proper = joined.any(axis=1) & ~joined.all(axis=1)
    try:
        return float(estimate_shapley(joined[proper], utilities[rows][proper], null, grand).values[place])
    except InputError:
        return None


def split(pool: int, credits: Mapping[str, Credit], terms: Terms) -> list[Split]:
    """What each contributor whose credit is positive would be paid from a pool under two names.

    The halves of an additive credit are exact; of a game with interactions they are what an additive fit of it says.
    What changes then is by the terms: floors, caps and tiers go by head, and a minimum by payment.

    Args:
        terms: nobody of the two is disputed or without a payee where the one is not.
    """
    whole = divide_pool(pool, credits, terms).settlements
    found = []
    for name, credit in credits.items():
        if credit.value <= 0:
            continue
        half = Credit(credit.value / 2, credit.low / 2, credit.high / 2)
        twins = (f"{name} (1)", f"{name} (2)")
        others = {other: one for other, one in credits.items() if other != name}
        try:
            rows = divide_pool(pool, {**others, **dict.fromkeys(twins, half)}, _without(terms, name, twins)).settlements
        except InputError:  # such as a floor that is too high for one more
            continue
        found.append(Split(name, whole[name].share, sum(rows[twin].share for twin in twins)))
    return found


def _without(terms: Terms, name: str, twins: tuple[str, str]) -> Terms:
    disputed = terms.disputed - {name} | (frozenset(twins) if name in terms.disputed else frozenset())
    return replace(terms, disputed=disputed)

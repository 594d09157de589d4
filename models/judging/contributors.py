"""How far the most valuable items are from generated images by their attributes (GMValuator, Theorem 2.4).

With f the attributes of an image, T the items found to contribute and X the generated images, the theorem bounds the
error of attributes learned from T by d_W(T|f, X|f). Its proof compares attributes, |f(x) - f(x')|, and bounds this by a
distance of images times a Lipschitz constant. Here d_W is of the attributes themselves, which needs no constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from royalty.models.base.errors import InputError
from royalty.models.valuation.memory import check_fits

SIZES = (30, 100, 300, 1000)
"""Numbers of contributors whose distance is computed, beside that of all."""

DRAWS = 10
"""Random sets of items that each set of contributors is compared with."""

PAIR_BYTES = 300
"""Memory of the linear program for a pair of combinations of attributes."""


def attribute_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The 1-Wasserstein distance of the attributes of two sets; two images are as far apart as attributes differ.

    It is exact, by linear programming.

    Args:
        first, second: bool, `(images, attributes)`.

    Returns:
        At least 0, for equal shares of each combination of attributes; at most the number of attributes. With one
        attribute, the difference of the fractions that have it.

    Raises:
        InputError: a set is empty; the attributes are not boolean or not the same; or so many of their combinations
            occur that memory does not hold the problem.
    """
    for title, attributes in (("first", first), ("second", second)):
        if attributes.ndim != 2 or attributes.dtype != np.bool_ or not attributes.size:
            raise InputError(
                "attributes are boolean, (images, attributes), of at least one image and attribute; the "
                f"{title} set has {attributes.dtype} of shape {attributes.shape}"
            )
    if first.shape[1] != second.shape[1]:
        raise InputError(
            f"both sets have the same attributes, in one order; got {first.shape[1]} and {second.shape[1]} of them"
        )
    kinds, kind = np.unique(np.concatenate([first, second]), axis=0, return_inverse=True)
    shares = [
        np.bincount(rows, minlength=len(kinds)) / len(rows) for rows in np.split(kind.ravel(), [len(first)])
    ]  # (kinds,) each
    surplus = shares[0] - shares[1]
    # What both sets have stays where it is: the number of different attributes is a metric.
    more, less = (np.flatnonzero(side > 0) for side in (surplus, -surplus))
    if not len(more) or not len(less):
        return 0.0
    check_fits(
        "pairs of combinations of attributes",
        len(more),
        len(less),
        bytes_each=PAIR_BYTES,
        remedy="Compare fewer attributes, or fewer images",
    )
    costs = (kinds[more][:, None] != kinds[less][None]).sum(axis=2)  # (more, less)
    return _least_cost(costs.astype(np.float64), surplus[more], -surplus[less])


@dataclass(frozen=True)
class ContributorDistance:
    """The distance of the most valuable items from generated images, and what random items have.

    Attributes:
        contributors: number of items.
        distance: of those of highest value; see `attribute_distance`. Lower is better.
        random, deviation: mean and standard deviation over random sets of as many items.
    """

    contributors: int
    distance: float
    random: float
    deviation: float


def contributor_distances(
    values: np.ndarray,
    item_attributes: np.ndarray,
    generated_attributes: np.ndarray,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    seed: int,
) -> tuple[ContributorDistance, ...]:
    """The distance of the items of highest value from generated images, by the number of items.

    Args:
        values: `(items,)`, at least 0; an item of value 0 does not contribute.
        item_attributes: bool, `(items, attributes)`.
        generated_attributes: bool, `(generated, attributes)`.
        sizes: numbers of items; those above the number of items that contribute are left out, and this one is added.
        draws: random sets for each size, at least 2.
        seed: of the random sets.

    Raises:
        InputError: as for `attribute_distance`; values are not one for each item, or none is above 0.
    """
    if values.shape != (len(item_attributes),) or not (values > 0).any():
        raise InputError(
            f"each item has a value, and at least one contributes; got values of shape {values.shape} for "
            f"{len(item_attributes)} items, {int((values > 0).sum())} of them above 0"
        )
    generator = np.random.default_rng(seed)
    order, contributing = np.argsort(-values, kind="stable"), int((values > 0).sum())
    found = []
    for size in sorted({size for size in sizes if size < contributing} | {contributing}):
        drawn = [generator.choice(len(values), size, replace=False) for _ in range(draws)]
        chance = [attribute_distance(item_attributes[rows], generated_attributes) for rows in drawn]
        distance = attribute_distance(item_attributes[order[:size]], generated_attributes)
        found.append(ContributorDistance(size, distance, float(np.mean(chance)), float(np.std(chance, ddof=1))))
    return tuple(found)


def _least_cost(costs: np.ndarray, supply: np.ndarray, demand: np.ndarray) -> float:
    """The cost of the cheapest transport of `supply`, `(n,)`, to `demand`, `(m,)`, which have one sum."""
    from scipy.optimize import linprog  # takes a second to import

    n, m = costs.shape
    route = np.arange(n * m)
    sums = coo_array((np.ones(2 * n * m), (np.concatenate([route // m, n + route % m]), np.tile(route, 2))))
    # One equation follows from the others; without it, rounding cannot make them contradict each other.
    solved = linprog(costs.ravel(), A_eq=sums.tocsr()[:-1], b_eq=np.concatenate([supply, demand])[:-1], method="highs")
    if not solved.success:
        raise RuntimeError(f"transport of attributes always has a solution; the solver says: {solved.message}")
    return float(solved.fun)

"""Functions of coalitions by order of interaction, with a weight for each contributor.

With x_i = 1 for members of a coalition S and -1 for others, every game is a sum over sets T of contributors of a
coefficient f(T) times the product of x_i over T (the Fourier expansion on the cube). Terms of odd order change their
sign between complementary coalitions, and terms of even order do not. If the coefficients of an order d are
independent, with variances in proportion to the product of the members' weights, all covariances are elementary
symmetric sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np


def symmetric_sums(power_sums: Sequence[np.ndarray | float], highest: int) -> list[np.ndarray | float]:
    """Elementary symmetric sums of orders 0 to `highest` from the power sums of orders 1 to `highest` (Newton)."""
    sums: list[np.ndarray | float] = [1.0]
    for order in range(1, highest + 1):
        terms = [(-1) ** (power - 1) * sums[order - power] * power_sums[power - 1] for power in range(1, order + 1)]
        sums.append(sum(terms[1:], terms[0]) / order)
    return sums


def sums_of(values: np.ndarray, highest: int) -> list[np.ndarray]:
    """Elementary symmetric sums of each row, `(rows,)` each, for orders 0 to `highest`."""
    sums = [np.ones(len(values))] + [np.zeros(len(values))] * highest
    for column in values.T:
        for order in range(highest, 0, -1):
            sums[order] = sums[order] + column * sums[order - 1]
    return sums


def sums_without(values: np.ndarray, sums: Sequence[np.ndarray], order: int) -> np.ndarray:
    """The symmetric sum of an order over all columns but one, for each column, `(rows, columns)`."""
    without = np.ones_like(values)
    for lower in range(1, order + 1):
        without = sums[lower][:, None] - values * without
    return without


def sums_without_two(values: np.ndarray, column: int, order: int, sums: Sequence[np.ndarray]) -> np.ndarray:
    """The same over all columns but two, `column` and each other, `(rows, columns)`; entry `column` has no meaning."""
    one = values[:, column]
    without = [np.ones(len(values))]
    for lower in range(1, order + 1):
        without.append(sums[lower] - one * without[-1])
    return sums_without(values, without, order)


def mean_by_size(n_players: int, order: int) -> np.ndarray:
    """Mean of a term of an order over the coalitions of each size 0..n, `(n + 1,)` (Krawtchouk, normalized)."""
    sizes = np.arange(n_players + 1)
    means = np.zeros(n_players + 1)
    for size in sizes:
        ways = (
            (-1) ** absent * comb(order, absent) * comb(n_players - order, int(n_players - size) - absent)
            for absent in range(min(order, int(n_players - size)) + 1)
        )
        means[size] = sum(ways) / comb(n_players, int(size))
    return means


def credit_coefficients(weights: np.ndarray, highest: int) -> np.ndarray:
    """What a coefficient adds to the semivalue of a member of its set, by order, `(highest + 1,)`.

    Args:
        weights: `(n,)`, probability that a contributor joins a coalition of each size 0..n - 1.
    """
    n_players = len(weights)
    coefficients = np.zeros(highest + 1)
    for order in range(1, highest + 1):
        coefficients[order] = 2 * weights @ mean_by_size(n_players - 1, order - 1)
    return coefficients


def pair_coefficients(n_players: int, highest: int) -> np.ndarray:
    """What a coefficient adds to the interaction of two members of its set, by order, `(highest + 1,)`.

    The interaction of i and j is the mean of v(S+i+j) - v(S+i) - v(S+j) + v(S) over the sizes 1..n - 3 of S.
    """
    coefficients = np.zeros(highest + 1)
    for order in range(2, highest + 1):
        coefficients[order] = 4 * mean_by_size(n_players - 2, order - 2)[1 : n_players - 2].mean()
    return coefficients

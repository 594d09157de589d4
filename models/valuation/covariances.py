"""The prior of a game: variance components by order of interaction and by size, and the covariances they imply.

A game is a polynomial of the coalition's size, plus terms that are independent draws from normal distributions:

- interactions of each order 1 to 6, with one variance an order; contributors' weights make interactions of those who
  interact strongly larger a priori (the hierarchy);
- main effects that vary with the size of the coalition, linearly and quadratically;
- a deviation from the polynomial for each size.

Half the difference within a pair of complementary coalitions contains the odd terms, half the sum the even ones. The
two are independent, except for noise that they do not share, so the sums tell about pairs of contributors what
differences cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from royalty.models.valuation.orders import (
    credit_coefficients,
    mean_by_size,
    pair_coefficients,
    sums_of,
    sums_without,
    sums_without_two,
    symmetric_sums,
)

HIGHEST = 6
"""Highest order of interaction; those beyond it cannot be told from noise."""

LINEAR, QUADRATIC, ODD_SIZES, EVEN_SIZES = "main by size", "main by squared size", "odd sizes", "even sizes"


@dataclass(frozen=True)
class Rows:
    """Observed or predicted combinations of utilities.

    Attributes:
        masks: bool, `(rows, n)`.
        odd, even: `(rows,)`, 1 where a row contains the odd or even terms: both in a coalition, one in half the
            difference or sum of a pair.
    """

    masks: np.ndarray
    odd: np.ndarray
    even: np.ndarray

    @classmethod
    def of_coalitions(cls, masks: np.ndarray) -> Rows:
        return cls(masks, np.ones(len(masks)), np.ones(len(masks)))

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, chosen: np.ndarray) -> Rows:
        return Rows(self.masks[chosen], self.odd[chosen], self.even[chosen])

    @property
    def signs(self) -> np.ndarray:
        """1 for members and -1 for others, `(rows, n)`."""
        return 2.0 * self.masks - 1

    @property
    def sizes(self) -> np.ndarray:
        sizes: np.ndarray = self.masks.sum(axis=1)
        return sizes


@dataclass(frozen=True)
class Functional:
    """Linear functions of a game.

    Attributes:
        covariance: by component, with the observed rows, `(functions, rows)`, at a variance of one.
        prior: by component, the prior variance at a variance of one, `(functions,)`.
        trend: `(functions, columns)`, of the powers of the size.
    """

    covariance: Mapping[int, np.ndarray]
    prior: Mapping[int, np.ndarray]
    trend: np.ndarray


class Space:
    """The components of a game of n contributors.

    Args:
        weights: `(n,)`, positive; of contributors in interactions.
        powers: of the size that the trend has, from 0.
    """

    def __init__(self, weights: np.ndarray, powers: int) -> None:
        self.weights = weights / weights.mean()
        self.n_players = len(weights)
        self.powers = powers
        self.highest = min(HIGHEST, self.n_players)
        names = [f"order {order}" for order in range(1, self.highest + 1)]
        self.names = [*names, LINEAR, QUADRATIC, ODD_SIZES, EVEN_SIZES]
        self.norms = np.array([float(total[0]) for total in sums_of(self.weights[None], self.highest)])
        positions = self.position(np.arange(1, self.n_players))
        self._moments = positions.std() or 1.0, (positions**2).mean(), (positions**2).std() or 1.0

    def index(self, name: str) -> int:
        return self.names.index(name)

    def position(self, sizes: np.ndarray) -> np.ndarray:
        """Size scaled from -1 (nobody) to 1 (everybody)."""
        position: np.ndarray = 2 * sizes / self.n_players - 1
        return position

    def linear(self, sizes: np.ndarray) -> np.ndarray:
        """Position, standardized over the sizes 1..n - 1."""
        linear: np.ndarray = self.position(sizes) / self._moments[0]
        return linear

    def quadratic(self, sizes: np.ndarray) -> np.ndarray:
        """Squared position, standardized likewise; its mean is zero, so it does not move Shapley values."""
        quadratic: np.ndarray = (self.position(sizes) ** 2 - self._moments[1]) / self._moments[2]
        return quadratic

    def trend(self, rows: Rows) -> np.ndarray:
        """Powers of the position, `(rows, powers)`, zero where a row does not contain the parity."""
        position = self.position(rows.sizes)
        return np.column_stack(
            [position**power * (rows.odd if power % 2 else rows.even) for power in range(self.powers)]
        )

    def kernels(self, first: Rows, second: Rows) -> Iterator[np.ndarray]:
        """Covariance of rows for each component in turn at a variance of one, `(first, second)` each."""
        odd, even = np.outer(first.odd, second.odd), np.outer(first.even, second.even)
        powers: list[np.ndarray | float] = []
        for power in range(1, self.highest + 1):
            if power % 2:
                powers.append((first.signs * self.weights**power) @ second.signs.T)
            else:
                powers.append(float((self.weights**power).sum()))
        sums = symmetric_sums(powers, self.highest)
        for order in range(1, self.highest + 1):
            yield (odd if order % 2 else even) * (sums[order] / self.norms[order])
        inner = 4 / self.n_players * _centred(first.masks) @ _centred(second.masks).T
        yield even * inner * np.outer(self.linear(first.sizes), self.linear(second.sizes))
        yield odd * inner * np.outer(self.quadratic(first.sizes), self.quadratic(second.sizes))
        same, opposite = _sizes_in_common(first.sizes, second.sizes, self.n_players)
        yield odd * (same - opposite) / 2
        yield even * (same + opposite) / 2

    def predictions(self, rows: Rows, observed: Rows) -> Functional:
        """Utilities of coalitions."""
        kernels = self.kernels(rows, observed)
        own = {component: np.ones(len(rows)) for component in range(self.highest)}
        inner = 4 / self.n_players * (_centred(rows.masks) ** 2).sum(axis=1)
        own[self.index(LINEAR)] = inner * self.linear(rows.sizes) ** 2
        own[self.index(QUADRATIC)] = inner * self.quadratic(rows.sizes) ** 2
        middle = 2 * rows.sizes == self.n_players
        own[self.index(ODD_SIZES)] = np.where(middle, 0.0, 0.5)
        own[self.index(EVEN_SIZES)] = np.where(middle, 1.0, 0.5)
        return Functional(dict(enumerate(kernels)), own, self.trend(rows))

    def credits(self, weights: np.ndarray, observed: Rows) -> Functional:
        """Semivalues less their mean, by the weights of sizes; for Shapley values these are uniform."""
        n = self.n_players
        coefficients = credit_coefficients(weights, self.highest)
        values = observed.signs * self.weights  # (rows, n)
        sums = sums_of(values, self.highest)
        covariance, prior = {}, {}
        for order in map(int, np.flatnonzero(np.abs(coefficients) > 1e-12)):
            factor = coefficients[order] / self.norms[order]
            parity = observed.odd if order % 2 else observed.even
            terms = values * sums_without(values, sums, order - 1) * parity[:, None]
            covariance[order - 1] = factor * _centred(terms).T
            prior[order - 1] = coefficients[order] * factor * self._own_variance(order)
        steps = np.arange(n)
        for name, contrast, parity in ((LINEAR, self.linear, observed.even), (QUADRATIC, self.quadratic, observed.odd)):
            slope = weights @ ((1 - steps / (n - 1)) * contrast(steps + 1) + steps / (n - 1) * contrast(steps))
            if abs(slope) > 1e-12:
                covariance[self.index(name)] = (
                    slope * 4 / n * _centred(observed.masks) * (contrast(observed.sizes) * parity)[:, None]
                ).T
                prior[self.index(name)] = np.full(n, slope**2 * 4 / n * (1 - 1 / n))
        return Functional(covariance, prior, np.zeros((n, self.powers)))

    def mean_credit(self, weights: np.ndarray, observed: Rows) -> Functional:
        """The mean semivalue without the steps from nobody and to everybody, one function."""
        sizes = np.zeros(self.n_players + 1)
        sizes[1:] += weights
        sizes[:-1] -= weights
        sizes[[0, -1]] = 0  # their utilities are known
        return self._of_sizes(sizes, observed)

    def pairs(self, player: int, observed: Rows) -> Functional:
        """Interactions of a contributor with each other one, `(n,)`; the entry of the contributor has no meaning."""
        n = self.n_players
        coefficients = pair_coefficients(n, self.highest)
        values = observed.signs * self.weights
        sums = sums_of(values, self.highest)
        covariance, prior = {}, {}
        for order in map(int, np.flatnonzero(np.abs(coefficients) > 1e-12)):
            factor = coefficients[order] / self.norms[order]
            rest = sums_without_two(values, player, order - 2, sums)
            parity = observed.odd if order % 2 else observed.even
            covariance[order - 1] = factor * (values * values[:, [player]] * rest * parity[:, None]).T
            whole = sums_of(self.weights[None], self.highest)
            others = sums_without_two(self.weights[None], player, order - 2, whole)[0]
            prior[order - 1] = coefficients[order] * factor * self.weights * self.weights[player] * others
        steps = np.arange(1, n - 2)
        for name, contrast, parity in ((LINEAR, self.linear, observed.even), (QUADRATIC, self.quadratic, observed.odd)):
            middle = contrast(steps + 1)
            bend = contrast(steps + 2) - 2 * middle + contrast(steps)
            slope = float((contrast(steps + 2) - middle - steps / (n - 2) * bend).mean())
            if abs(slope) > 1e-12:
                centred = _centred(observed.masks)
                both = (centred + centred[:, [player]]) * (contrast(observed.sizes) * parity)[:, None]
                covariance[self.index(name)] = slope * 4 / n * both.T
                prior[self.index(name)] = np.full(n, slope**2 * 4 / n * (2 - 4 / n))
        sizes = np.zeros(n + 1)
        for size, sign in ((n - 1, 1.0), (n - 2, -1.0), (2, -1.0), (1, 1.0)):
            sizes[size] += sign / (n - 3)
        common = self._of_sizes(sizes, observed, orders=False)
        covariance |= {part: np.repeat(values, n, axis=0) for part, values in common.covariance.items()}
        prior |= {part: np.repeat(values, n) for part, values in common.prior.items()}
        return Functional(covariance, prior, np.repeat(common.trend, n, axis=0))

    def _of_sizes(self, sizes: np.ndarray, observed: Rows, *, orders: bool = True) -> Functional:
        """A weighted sum of the mean utilities of each size 0..n."""
        n, used = self.n_players, np.arange(self.n_players + 1)
        covariance, prior = {}, {}
        values = sums_of(observed.signs * self.weights, self.highest) if orders else []
        for order in range(1, self.highest + 1) if orders else ():
            coefficient = float(sizes @ mean_by_size(n, order))
            parity = observed.odd if order % 2 else observed.even
            covariance[order - 1] = (coefficient / self.norms[order] * values[order] * parity)[None]
            prior[order - 1] = np.array([coefficient**2])
        same, opposite = _sizes_in_common(used, used, n)
        seen, across = _sizes_in_common(used, observed.sizes, n)
        for name, sign, parity in ((ODD_SIZES, -1.0, observed.odd), (EVEN_SIZES, 1.0, observed.even)):
            covariance[self.index(name)] = (sizes @ (seen + sign * across) / 2 * parity)[None]
            prior[self.index(name)] = np.array([sizes @ (same + sign * opposite) @ sizes / 2])
        trend = np.array([[sizes @ self.position(used) ** power for power in range(self.powers)]])
        return Functional(covariance, prior, trend)

    def _own_variance(self, order: int) -> np.ndarray:
        """Prior variance of the centred sums over the sets with each contributor, `(n,)`, before normalization."""
        n = self.n_players
        whole = sums_of(self.weights[None], order)
        shared = np.zeros((n, n))
        if order > 1:
            for player in range(n):
                others = sums_without_two(self.weights[None], player, order - 2, whole)[0]
                shared[player] = self.weights[player] * self.weights * others
        np.fill_diagonal(shared, self.weights * sums_without(self.weights[None], whole, order - 1)[0])
        centring = np.eye(n) - 1 / n
        variance: np.ndarray = np.diag(centring @ shared @ centring)
        return variance


def _centred(values: np.ndarray) -> np.ndarray:
    centred: np.ndarray = values - values.mean(axis=1, keepdims=True)
    return centred


def _sizes_in_common(first: np.ndarray, second: np.ndarray, n_players: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether sizes are the same, and whether they are complementary, `(first, second)` each."""
    return (
        (first[:, None] == second[None]).astype(float),
        (first[:, None] == n_players - second[None]).astype(float),
    )

"""Main effects of contributors on utility, estimated from measured coalitions; shared by the Shapley estimators.

Every game is v(S) = g(|S|) + sum over i of delta_i(|S|) (1[i in S] - |S|/n) + e(S), where the effects
delta sum to zero over contributors, and e is the remainder: interactions and noise. The Shapley value of
contributor i is (v(grand) - v(empty))/n plus the unweighted mean of delta_i(k) over the sizes
k = 1..n-1. The weights of KernelSHAP average over sizes in this way.

In a pair of complementary coalitions, half the difference of the utilities contains only the part of g
that is odd about the middle size and the part of delta that is even, which suffice for the Shapley value.
Everything else cancels, including every interaction between two contributors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb

import numpy as np

RATIOS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Candidate ratios of the spread of effects over sizes to the spread of their means."""

NEGLIGIBLE = 1e-6
"""Posterior weight below which a model is left out of the average."""

_SHRINKAGES = np.logspace(-16, 2, 145)
"""Candidate shrinkages: noise variance over effect variance, in units of the mean eigenvalue."""

_ROUNDING = 1e-14


@dataclass(frozen=True)
class Units:
    """Independent observations: a pair, or a coalition whose complement was not measured.

    Attributes:
        centred: `(units, n)`, membership less the coalition's share of contributors; rows sum to zero.
        response: `(units,)`, half the difference within a pair, or the utility.
        sizes: `(units,)`, contributors in the coalition.
        weights: `(units,)`, weight of a unit relative to a complete pair.
        paired: whether responses are differences.
        first, second: `(units,)`, the coalitions of a unit; second is -1 without a complement.
    """

    centred: np.ndarray
    response: np.ndarray
    sizes: np.ndarray
    weights: np.ndarray
    paired: bool
    first: np.ndarray
    second: np.ndarray

    @property
    def position(self) -> np.ndarray:
        """Size scaled from -1 (empty) to 1 (grand coalition), `(units,)`."""
        position: np.ndarray = 2 * self.sizes / self.centred.shape[1] - 1
        return position

    def anonymous(self, degree: int) -> np.ndarray:
        """Columns for g, powers of the size up to `degree`, `(units, columns)`; in pairs the even powers cancel."""
        powers = [power for power in range(degree + 1) if power % 2 or not self.paired]
        return np.column_stack([self.position**power for power in powers])

    def variance_of(self, coalitions: np.ndarray) -> np.ndarray:
        """Variance of each response, `(units,)`, from that of each utility, `(m,)`."""
        both = (coalitions[self.first] + coalitions[self.second]) / 4
        variance: np.ndarray = np.where(self.second >= 0, both, coalitions[self.first])
        return variance

    def weighted(self, factors: np.ndarray) -> Units:
        return replace(self, weights=self.weights * factors)


@dataclass(frozen=True)
class Fit:
    """A linear estimate of the effects.

    Attributes:
        effects: `(n,)`, the mean of delta over sizes; sum to zero.
        variance: `(n,)`, of each effect; None: to be estimated from the residuals.
        linear: `(n, units)`, effects = linear @ response.
        residual: `(units,)`, scaled to the variance of the errors.
        left_out: `(units,)`, the response minus the prediction of a fit without that unit.
        predicted: `(units,)`, centred @ effects of a fit without that unit.
        freedom: degrees of freedom of the variance.
        condition: of the matrix that was inverted.
        noise: variance of a unit's response about the fit.
        exact: whether all coalitions were measured, so that noise is the only uncertainty.
    """

    effects: np.ndarray
    variance: np.ndarray | None
    linear: np.ndarray
    residual: np.ndarray
    left_out: np.ndarray
    predicted: np.ndarray
    freedom: float
    condition: float
    noise: float = 0.0
    exact: bool = False


def to_units(masks: np.ndarray, utilities: np.ndarray) -> Units:
    """Convert measured coalitions, `(m, n)` and `(m,)`, to units.

    For coalitions without a complement, the even part of the utility is predicted from the pairs by size, and their
    weight is lowered by the uncertainty of that prediction.
    """
    n_players = masks.shape[1]
    first, second, single = _pairs(masks)
    sizes = masks.sum(axis=1)
    if not len(first):
        no_partner = np.full(len(masks), -1)
        return Units(_centre(masks), utilities, sizes, np.ones(len(masks)), False, np.arange(len(masks)), no_partner)
    odd = (utilities[first] - utilities[second]) / 2
    even = (utilities[first] + utilities[second]) / 2
    rows = np.concatenate([first, single])
    response, weights = odd, np.ones(len(rows))
    if len(single):
        position = 2 * sizes / n_players - 1
        kinds = len(np.unique(np.abs(2 * sizes[first] - n_players)))  # pairs of one size determine no slope
        level = np.polynomial.Polynomial.fit(position[first] ** 2, even, deg=min(1, kinds - 1), domain=[0, 1])
        response = np.concatenate([odd, utilities[single] - level(position[single] ** 2)])
        spread = (even - level(position[first] ** 2)).var()
        weights[len(first) :] = odd.var() / max(odd.var() + spread, np.finfo(float).tiny)
        weights = np.maximum(weights, 1e-6)
    partners = np.concatenate([second, np.full(len(single), -1)])
    return Units(_centre(masks[rows]), response, sizes[rows], weights, True, rows, partners)


def fit_fixed(units: Units, *, ridge: float = 0.0) -> Fit:
    """Weighted least squares with one effect per contributor: eq. 5 with its constraint eliminated.

    Args:
        ridge: added to the diagonal times the number of units; shrinks effects to zero, so credit to equal shares.
    """
    model = _Projected.of(units, units.anonymous(1), units.centred).model(np.ones(units.centred.shape[1]))
    shrinkage = np.array([ridge * len(units.response)])
    return _average(units, [(model, shrinkage, np.ones(1), None)])


def fit_mixed(units: Units) -> Fit:
    """Effects as draws from a common normal distribution, each varying with size (Bayesian model averaging).

    The spread of effects and their variation with size, relative to the noise, and whether g is cubic in size are
    unknown. The estimate is the posterior mean over a grid of these, and the variance that of the posterior. With
    little noise nothing is shrunk; with few and noisy coalitions effects are shrunk towards each other by the amount
    that minimizes the expected error.
    """
    count, n_players = units.centred.shape
    varies = n_players > 3 and count > 2 * n_players
    varying = units.centred * _size_contrast(units)[:, None]
    design = np.hstack([units.centred, varying]) if varies else units.centred
    tried = []
    for degree in (1, 3) if n_players > 5 and count > 10 else (1,):
        projected = _Projected.of(units, units.anonymous(degree), design)
        for ratio in RATIOS if varies else RATIOS[:1]:
            model = projected.model(np.repeat([1.0, ratio], n_players)[: design.shape[1]])
            tried.append((model, *model.profile()))
    criteria = np.array([criterion for _, _, criterion, _ in tried])  # (models, shrinkages)
    posterior = np.exp((criteria.min() - criteria) / 2)
    posterior /= posterior.sum()
    parts = [(part[0], part[1], weights, part[3]) for part, weights in zip(tried, posterior, strict=True)]
    return _average(units, [part for part in parts if part[2].sum() > NEGLIGIBLE])


def fit_moments(units: Units) -> Fit:
    """The unbiased estimate: the sampled matrix of eq. 5 is replaced by its expectation in closed form.

    Weighted coalitions have E[x x'] = (I - 11'/n)/(2 H), H the harmonic number of n - 1, so the effects are 2 H E[x v].
    The prediction from size alone is subtracted from v first, by a fit without the unit. Because E[x g(|S|)] = 0, this
    changes the variance and not the mean; without it the jump from the empty coalition would dominate the variance.
    """
    count, n_players = units.centred.shape
    anonymous = units.anonymous(1)
    root = np.sqrt(units.weights)[:, None]
    basis, _ = np.linalg.qr(anonymous * root)
    leverage = np.minimum((basis**2).sum(axis=1), 1 - 1e-9)
    residual = units.response - (basis @ (basis.T @ (units.response * root[:, 0]))) / root[:, 0]
    left_out = residual / (1 - leverage)
    weights = units.weights / units.weights.mean()
    harmonic = (1 / np.arange(1, n_players)).sum()
    linear = 2 * harmonic * (units.centred * weights[:, None]).T / count  # (n, units)
    terms = linear * left_out
    effects = terms.sum(axis=1)
    without = (effects[:, None] - terms) * count / max(count - 1, 1)  # (n, units): the estimate without each unit
    return Fit(
        effects=effects,
        variance=((terms - effects[:, None] / count) ** 2).sum(axis=1) * count / max(count - 1, 1),
        linear=linear,
        residual=left_out,
        left_out=left_out - np.einsum("un,nu->u", units.centred, without),
        predicted=np.einsum("un,nu->u", units.centred, without),
        freedom=max(count - 1.0, 1.0),
        condition=1.0,
        noise=float((units.weights * (left_out - units.centred @ effects) ** 2).mean()),
    )


def fit_complete(units: Units) -> Fit:
    """The exact effects, if the units are all existing pairs."""
    count, n_players = units.centred.shape
    kernel = [1 / (size * (n_players - size) * comb(n_players, int(size))) for size in units.sizes]
    linear = 2 * units.centred.T * kernel * n_players  # (n, units)
    zeros = np.zeros(count)
    effects = linear @ units.response
    return Fit(effects, None, linear, zeros, zeros, units.centred @ effects, np.inf, 1.0, exact=True)


@dataclass(frozen=True)
class _Projected:
    """A whitened design and response, with the anonymous columns projected out of both.

    Attributes:
        basis: orthonormal anonymous columns, `(units, columns)`.
        design: `(units, terms)`; the first n terms are the effects.
        response: `(units,)`.
        gram, cross: design'design and design'response.
        scale: sum of squares of the response before the projection.
    """

    basis: np.ndarray
    design: np.ndarray
    response: np.ndarray
    gram: np.ndarray
    cross: np.ndarray
    scale: float

    @classmethod
    def of(cls, units: Units, anonymous: np.ndarray, design: np.ndarray) -> _Projected:
        root = np.sqrt(units.weights)
        basis, _ = np.linalg.qr(anonymous * root[:, None])
        whitened = design * root[:, None]
        whitened -= basis @ (basis.T @ whitened)
        whole = units.response * root
        response = whole - basis @ (basis.T @ whole)
        scale = float(whole @ whole) + np.finfo(float).tiny
        return cls(basis, whitened, response, whitened.T @ whitened, whitened.T @ response, scale)

    def model(self, factors: np.ndarray) -> _Model:
        """The model with each term multiplied by a factor, `(terms,)`; terms with factor zero are left out."""
        used = np.flatnonzero(factors)
        eigenvalues, vectors = np.linalg.eigh(self.gram[np.ix_(used, used)] * np.outer(factors[used], factors[used]))
        # Rows are centred, so at least one eigenvalue is zero.
        kept = eigenvalues > 1e-10 * max(float(eigenvalues[-1]), np.finfo(float).tiny)
        scaled = np.zeros((len(factors), int(kept.sum())))
        scaled[used] = vectors[:, kept] * factors[used, None]
        return _Model(self, eigenvalues[kept], scaled)


@dataclass(frozen=True)
class _Model:
    """Eigenvalues of a design's matrix, `(kept,)`, and its eigenvectors in all terms of the design, `(terms, kept)`."""

    projected: _Projected
    eigenvalues: np.ndarray
    scaled: np.ndarray

    def profile(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shrinkages, and for each its criterion and noise variance.

        The criterion is -2 log likelihood, up to a constant, plus the penalty of BIC. For effects of variance
        noise/shrinkage and the best-fitting noise, the likelihood term is
        (count - columns) log(left/scale) + sum of log(1 + eigenvalue/shrinkage).
        """
        data, (count, columns) = self.projected, self.projected.basis.shape
        explained = (self.scaled.T @ data.cross) ** 2 / self.eigenvalues  # (kept,)
        shrinkages = _SHRINKAGES * (self.eigenvalues.mean() if len(self.eigenvalues) else 1.0)
        shrunk = shrinkages[:, None] / (self.eigenvalues + shrinkages[:, None])  # (shrinkages, kept)
        # The difference is bounded below by its rounding error.
        unexplained = max(float(data.response @ data.response) - float(explained.sum()), _ROUNDING * data.scale)
        left = unexplained + shrunk @ explained
        spread = np.log1p(self.eigenvalues / shrinkages[:, None]).sum(axis=1)
        criterion = (count - columns) * np.log(left / data.scale) + spread + columns * np.log(count)
        if len(self.eigenvalues) >= count - columns:
            # Effects can explain everything, so the likelihood is flat towards zero noise. Jeffreys' prior of the
            # noise's fraction of the variance makes zero noise as unlikely as noise alone.
            criterion += 2 * np.log1p(_SHRINKAGES) - np.log(_SHRINKAGES)
        return shrinkages, criterion, left / max(count - columns, 1)


def _average(units: Units, parts: list[tuple[_Model, np.ndarray, np.ndarray, np.ndarray | None]]) -> Fit:
    """Mean over models and shrinkages, by weights that sum to one, of penalized least squares.

    Args:
        parts: model, shrinkages, weights and noise variances, `(shrinkages,)` each.
    """
    count, n_players = units.centred.shape
    root = np.sqrt(units.weights)
    linear, fitted, hat = np.zeros((n_players, count)), np.zeros(count), np.zeros(count)
    means, variances, weights, spent = [], [], [], 0.0
    for model, shrinkages, share, noise in parts:
        data = model.projected
        inverse = 1 / (model.eigenvalues + shrinkages[:, None])  # (shrinkages, kept)
        projected = data.design @ model.scaled  # (units, kept)
        # Rows sum to zero, so centring the effects changes no prediction.
        effects = model.scaled[:n_players] - model.scaled[:n_players].mean(axis=0)  # (n, kept)
        mean = share @ inverse  # (kept,)
        linear += (effects * mean) @ projected.T
        fitted += share.sum() * (units.response * root - data.response) + projected @ (
            mean * (projected.T @ data.response)
        )
        hat += share.sum() * (data.basis**2).sum(axis=1) + (projected**2) @ mean
        spent += share.sum() * data.basis.shape[1] + float((share @ (inverse * model.eigenvalues)).sum())
        means.append((inverse * (projected.T @ data.response)) @ effects.T)  # (shrinkages, n)
        unknown = np.maximum(1 - 1 / n_players - (effects**2).sum(axis=1), 0)  # (n,): determined by the prior only
        known = inverse @ effects.T**2  # (shrinkages, n)
        variances.append(
            np.zeros_like(known) if noise is None else noise[:, None] * (known + unknown / shrinkages[:, None])
        )
        weights.append(share)
    linear *= root
    all_means, share = np.concatenate(means), np.concatenate(weights)
    effects = share @ all_means
    bayesian = parts[0][3] is not None  # the models come with noise variances
    variance = share @ (np.concatenate(variances) + (all_means - effects) ** 2) if bayesian else None
    spare = np.maximum(1 - hat, 1e-6)
    residual = units.response - fitted / root
    left_out = residual / spare
    # The effects of a fit without unit u are those with it, minus linear[:, u] times its left-out residual.
    self_influence = np.einsum("un,nu->u", units.centred, linear)
    model = parts[0][0]
    return Fit(
        effects=effects,
        variance=variance,
        linear=linear,
        residual=residual / np.sqrt(spare),
        left_out=left_out,
        predicted=units.centred @ effects - self_influence * left_out,
        freedom=max(count - (model.projected.basis.shape[1] if bayesian else spent), 1.0),
        condition=float(model.eigenvalues.max() / model.eigenvalues.min()) if len(model.eigenvalues) else np.inf,
        noise=float((units.weights * residual**2 / spare).mean()),
    )


def _size_contrast(units: Units) -> np.ndarray:
    """Squared distance from the middle size, `(units,)`, standardized over the sizes 1..n-1."""
    n_players = units.centred.shape[1]
    squares = (2 * np.arange(1, n_players) / n_players - 1) ** 2
    spread = squares.std()
    contrast: np.ndarray = (units.position**2 - squares.mean()) / spread if spread > 0 else 0 * units.position
    return contrast


def _pairs(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of coalitions with a complement, rows of these complements, and rows of coalitions without one."""
    keys = [np.packbits(mask).tobytes() for mask in masks]
    waiting: dict[bytes, int] = {}
    first, second = [], []
    for row, mask in enumerate(masks):
        partner = waiting.pop(np.packbits(~mask).tobytes(), None)
        if partner is None:
            waiting[keys[row]] = row
        else:
            first.append(partner)
            second.append(row)
    single = sorted(waiting.values())
    return np.array(first, dtype=int), np.array(second, dtype=int), np.array(single, dtype=int)


def _centre(masks: np.ndarray) -> np.ndarray:
    centred: np.ndarray = masks - masks.mean(axis=1, keepdims=True)
    return centred

"""Shapley credit of contributors from the utilities of sampled coalitions (KernelSHAP)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from models.errors import InputError


@dataclass(frozen=True)
class ShapleyEstimate:
    """Credit of each contributor, in units of the utility; higher is more valuable.

    Attributes:
        values: `(contributors,)`; they sum to the utility of everybody less that of nobody.
        stderr: `(contributors,)`, over the draw of coalitions.
        ci_low, ci_high: `(contributors,)`, ends of the confidence interval.
        n_evaluations: coalitions measured, the null and the grand one included.
        diagnostics: `efficiency_gap` (|sum of values - total|), `condition_number` of the regression,
            `pairs` of coalitions.
    """

    values: np.ndarray
    stderr: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    n_evaluations: int
    diagnostics: dict[str, float]


def sample_coalitions(n_players: int, n_coalitions: int, *, seed: int) -> np.ndarray:
    """Draw coalitions in complementary pairs from the KernelSHAP distribution.

    A size k has probability proportional to 1/(k (n - k)) for k in 1..n-1; given its size, every
    coalition is equally likely. The complement of such a draw has the same distribution, and on
    average over a pair the part of the utility that is common to all coalitions cancels.

    Args:
        n_coalitions: even, at least 2 (n_players - 1), without which the regression has no solution.

    Returns:
        bool, `(n_coalitions, n_players)`; rows 2i and 2i+1 are a pair; never null or grand.

    Raises:
        InputError: fewer than two players, or an odd or too small number of coalitions.
    """
    if n_players < 2:
        raise InputError(f"credit is shared between at least 2 contributors, got {n_players}")
    least = 2 * (n_players - 1)
    if n_coalitions % 2 or n_coalitions < least:
        raise InputError(
            f"coalitions come in pairs, at least {least} of them for {n_players} contributors, got {n_coalitions}; "
            f"{4 * n_players} is a good number to start with"
        )
    generator = np.random.default_rng(seed)
    sizes = np.arange(1, n_players)
    weights = 1 / (sizes * (n_players - sizes))
    drawn = generator.choice(sizes, size=n_coalitions // 2, p=weights / weights.sum())
    masks = np.zeros((n_coalitions, n_players), dtype=bool)
    for pair, size in enumerate(drawn):
        masks[2 * pair, generator.choice(n_players, size=size, replace=False)] = True
    masks[1::2] = ~masks[::2]
    return masks


def estimate_shapley(
    masks: np.ndarray,
    utilities: np.ndarray,
    null_utility: float,
    grand_utility: float,
    *,
    ridge: float = 0.0,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ShapleyEstimate:
    """Weighted least squares with the efficiency constraint, with intervals by a bootstrap over pairs.

    With X the masks, A = X'X/m, b = X'(v - v0)/m, and c a one for each contributor:
    phi = A^-1 (b - c (c'A^-1 b - v1 + v0) / (c'A^-1 c))   (Covert & Lee 2021; eq. 5 of the
    sparsified fine-tuning paper), with two changes that leave its limit where it is.

    X has one more column, 2|S|/n - 1, and c a zero for it. Utilities jump when anybody at all is
    there to learn from, which the additive fit can only put down to whoever was drawn into small
    coalitions. The column is a game that is alike for all contributors and zero for nobody and
    everybody: its Shapley values are zero, so fitting it takes the jump out and no credit away.

    A has `ridge` on the diagonal of the contributors, which draws them toward equal shares.

    Args:
        masks: bool, `(m, n)`, as `sample_coalitions` gives them.
        utilities: `(m,)`, v(S) of each row.
        null_utility: v of nobody, v0, from the same family of models as the utilities.
        grand_utility: v of everybody, v1, likewise.
        confidence: of the intervals, in (0, 1).

    Raises:
        ValueError: utilities that are not finite or not one a coalition, or masks that are no pairs.
    """
    _check(masks, utilities, null_utility, grand_utility)
    pairs, players = len(masks) // 2, masks.shape[1]
    total = grand_utility - null_utility
    jump = 2 * masks.mean(axis=1, keepdims=True) - 1  # (m, 1)
    design = np.hstack([masks, jump]).reshape(pairs, 2, players + 1)
    response = (utilities - null_utility).reshape(pairs, 2)
    gram = np.einsum("psi,psj->pij", design, design) / 2  # (pairs, n + 1, n + 1)
    moment = np.einsum("psi,ps->pi", design, response) / 2  # (pairs, n + 1)

    uniform = np.full((1, pairs), 1 / pairs)
    values = _solve(uniform, gram, moment, total, ridge)[0]
    draws = np.random.default_rng(seed).multinomial(pairs, uniform[0], size=n_bootstrap) / pairs
    replicates = _solve(draws, gram, moment, total, ridge)  # (bootstrap, n)
    # The regression spends n degrees of freedom, which resampling alone does not see.
    freedom = max(pairs - players, 1)
    stderr = replicates.std(axis=0, ddof=1)
    reach = stdtrit(freedom, (1 + confidence) / 2) * stderr
    matrix = gram.mean(axis=0)[:players, :players] + ridge * np.eye(players)
    return ShapleyEstimate(
        values=values,
        stderr=stderr,
        ci_low=values - reach,
        ci_high=values + reach,
        n_evaluations=len(masks) + 2,
        diagnostics={
            "efficiency_gap": float(abs(values.sum() - total)),
            "condition_number": float(np.linalg.cond(matrix)),
            "pairs": float(pairs),
        },
    )


def _solve(weights: np.ndarray, gram: np.ndarray, moment: np.ndarray, total: float, ridge: float) -> np.ndarray:
    """Credit for each weighting of the pairs, `(weightings, n)`."""
    credited = np.append(np.ones(gram.shape[-1] - 1), 0.0)  # (n + 1,): the jump is nobody's
    matrix = np.einsum("wp,pij->wij", weights, gram) + ridge * np.diag(credited)
    vector = weights @ moment  # (weightings, n + 1)
    # A resample may miss a direction altogether: the pseudo-inverse leaves it at equal shares.
    inverse = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True)
    free = np.einsum("wij,wj->wi", inverse, vector)
    equal = inverse @ credited
    excess = (free @ credited - total) / (equal @ credited)
    solution: np.ndarray = free - equal * excess[:, None]
    return solution[:, :-1]


def _check(masks: np.ndarray, utilities: np.ndarray, null_utility: float, grand_utility: float) -> None:
    if len(masks) != len(utilities):
        raise ValueError(f"one utility a coalition: got {len(masks)} coalitions and {len(utilities)} utilities")
    if len(masks) % 2 or not np.array_equal(masks[1::2], ~masks[::2]):
        raise ValueError("coalitions come in adjacent complementary pairs; use `sample_coalitions`")
    for row in np.flatnonzero(~np.isfinite(utilities)):
        members = np.flatnonzero(masks[row]).tolist()
        raise ValueError(f"a utility is a finite number; coalition {row} (contributors {members}) has {utilities[row]}")
    if not np.isfinite([null_utility, grand_utility]).all():
        raise ValueError(f"a utility is a finite number; null has {null_utility}, grand has {grand_utility}")

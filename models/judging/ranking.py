"""Linear datamodeling score: rank agreement of predicted and measured utilities, with paired comparisons of methods."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import rankdata

from royalty.models.base.errors import InputError
from royalty.models.judging.datamodeling import MIN_RANKED

DRAWS = 1000
"""Bootstrap draws. They are the same for all methods, so that methods are compared on the same resampled coalitions."""


@dataclass(frozen=True)
class Score:
    """How well predictions rank held-out coalitions.

    Attributes:
        lds: mean over groups of the Spearman correlation, in [-1, 1]; higher is better.
        low, high: 95% interval, by a bootstrap of the coalitions of each group.
        pearson: the same mean of Pearson correlations.
        bias, error: mean and root mean square of predicted minus measured utility, in units of the utility. A method
            can rank coalitions of one size well and be off by the same amount for all of them. None if predictions are
            known up to a constant only.
        coalitions, groups: numbers of coalitions and of groups that were ranked.
        resampled: `(draws,)`, the score of each bootstrap draw.
    """

    lds: float
    low: float
    high: float
    pearson: float
    bias: float | None
    error: float | None
    coalitions: int
    groups: int
    resampled: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class Lead:
    """The difference of two scores on the same coalitions.

    Attributes:
        difference: score of the first method minus that of the second.
        low, high: 95% interval, by the bootstrap draws that both methods share.
        p: two-sided, that the difference is zero; not corrected for the number of comparisons.
    """

    difference: float
    low: float
    high: float
    p: float


class HeldOutRanking:
    """Measured utilities of held-out coalitions, ranked within groups.

    The score (Ilyas et al. 2022; eq. 10 of the sparsified fine-tuning paper) is the Spearman correlation within each
    group of coalitions, averaged over groups in proportion to their coalitions less one. Groups are the independent
    sets of coalitions, so that a training seed that moves all utilities of a set moves no rank. With strata within sets
    (`strata_of`), what separates the strata counts for nothing.

    Groups with fewer than three coalitions are left out.

    Args:
        utilities: `(coalitions,)`, of models retrained on each coalition.
        groups: `(coalitions,)`, integers.

    Raises:
        InputError: lengths differ, or no group has three coalitions.
    """

    def __init__(self, utilities: np.ndarray, groups: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> None:
        if utilities.shape != groups.shape:
            raise InputError(
                f"each held-out coalition has a utility and a group; got shapes {utilities.shape} and {groups.shape}. "
                "Give one of each"
            )
        generator = np.random.default_rng(seed)
        self._parts: list[_Part] = []
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            if len(rows) >= MIN_RANKED:
                chosen = rows[generator.integers(len(rows), size=(draws, len(rows)))]  # (draws, coalitions)
                ranks, redrawn = _ranks(utilities[rows][None]), _ranks(utilities[chosen])
                self._parts.append(_Part(rows, chosen, ranks, redrawn, utilities[rows]))
        if not self._parts:
            raise InputError(
                f"a rank correlation needs at least {MIN_RANKED} coalitions in a group; got {len(utilities)} in "
                f"{len(np.unique(groups))} groups. Retrain more coalitions"
            )
        weights = np.array([len(part.rows) - 1.0 for part in self._parts])
        self._weights = weights / weights.sum()

    def correlation(self, predicted: np.ndarray) -> float:
        """The score of predictions, `(coalitions,)`, without its interval."""
        points = [float(_correlation(_ranks(predicted[part.rows][None]), part.ranks)[0]) for part in self._parts]
        return float(self._weights @ points)

    def score(self, predicted: np.ndarray, *, absolute: bool = False) -> Score:
        """Score predictions.

        Args:
            predicted: `(coalitions,)`; higher predicts a higher utility.
            absolute: the predictions are utilities, not utilities up to a constant.
        """
        linear = [
            float(_correlation(_standardized(predicted[part.rows][None]), _standardized(part.utilities[None]))[0])
            for part in self._parts
        ]
        resampled = np.array([_correlation(_ranks(predicted[part.chosen]), part.redrawn) for part in self._parts])
        mean: np.ndarray = self._weights @ resampled  # (draws,)
        low, high = np.quantile(mean, [0.025, 0.975])
        gaps = np.concatenate([predicted[part.rows] - part.utilities for part in self._parts])
        return Score(
            lds=self.correlation(predicted),
            low=float(low),
            high=float(high),
            pearson=float(self._weights @ linear),
            bias=float(gaps.mean()) if absolute else None,
            error=float(np.sqrt((gaps**2).mean())) if absolute else None,
            coalitions=len(gaps),
            groups=len(self._parts),
            resampled=mean,
        )


@dataclass(frozen=True)
class _Part:
    """A group of coalitions: their rows, the rows of each bootstrap draw, and standardized ranks of the utilities."""

    rows: np.ndarray
    chosen: np.ndarray
    ranks: np.ndarray
    redrawn: np.ndarray
    utilities: np.ndarray


def lead(first: Score, second: Score) -> Lead:
    """Test whether one method ranks better than another, by a paired bootstrap.

    Args:
        first, second: scores of one `HeldOutRanking`.
    """
    differences = first.resampled - second.resampled
    low, high = np.quantile(differences, [0.025, 0.975])
    count = len(differences)
    below, above = int((differences <= 0).sum()), int((differences >= 0).sum())
    p = min(1.0, 2 * (1 + min(below, above)) / (1 + count))
    return Lead(first.lds - second.lds, float(low), float(high), p)


def strata_of(masks: np.ndarray, planted: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Groups of coalitions of one set that have the same planted contributors, integers, `(coalitions,)`.

    Args:
        masks: bool, `(coalitions, n)`.
        planted: bool, `(n,)`.
        groups: `(coalitions,)`, the set of each coalition.
    """
    strata = np.unique(np.column_stack([groups, masks[:, planted]]), axis=0, return_inverse=True)[1]
    stratum: np.ndarray = strata.reshape(-1)
    return stratum


def _ranks(values: np.ndarray) -> np.ndarray:
    """Standardized ranks of each row."""
    return _standardized(rankdata(values, axis=1))


def _standardized(values: np.ndarray) -> np.ndarray:
    """Each row centred and scaled to length 1; a constant row is zero."""
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    scaled: np.ndarray = centred / np.where(length > 1e-12 * np.abs(values).max(initial=1.0), length, np.inf)
    return scaled


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of standardized rows, `(rows,)`; 0 where a row is constant."""
    product: np.ndarray = (first * second).sum(axis=1)
    return product

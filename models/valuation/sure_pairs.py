"""Pairs of contributors who are surely substitutes or complements, with few false ones among all that are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from royalty.models.valuation.interacting import fit_interacting, observe
from royalty.models.valuation.pairs import Pairs, pairs_of, widening
from royalty.models.valuation.regression import to_units
from royalty.models.valuation.repeats import checked_repeats
from royalty.models.valuation.shapley import MOST_OF_AUTO

MOST_CONTRIBUTORS = 60
"""Contributors up to which pairs are tested; the time grows with their square."""

MOST_NAMED = 200
"""Largest number of pairs that are kept."""


@dataclass(frozen=True)
class SurePair:
    """Two contributors whose interaction is surely not zero.

    Attributes:
        value: what the two add together, minus what they add separately, in units of the utility; below zero for
            substitutes, above zero for complements (see `Game.interactions`).
        ci_low, ci_high: ends of its interval, both on the same side of zero.
    """

    first: str
    second: str
    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class SurePairs:
    """The pairs that are surely substitutes or complements.

    Attributes:
        pairs: those of the largest interactions, largest first.
        named: number of all such pairs, of which `pairs` are at most 200.
        tested: number of pairs of contributors.
        unresolved: pairs about which the coalitions say nothing.
        common: mean interaction of all pairs, resolved or not; below zero if returns diminish with size.
        omitted: why no pair was tested; empty if pairs were.
    """

    pairs: tuple[SurePair, ...] = ()
    named: int = 0
    tested: int = 0
    unresolved: int = 0
    common: float = 0.0
    omitted: str = ""

    def beyond_common(self, pair: SurePair) -> bool:
        """Whether two contributors surely interact more than diminishing returns, which all pairs share, explain."""
        return pair.ci_high < min(self.common, 0) or pair.ci_low > max(self.common, 0)


def find_sure_pairs(
    masks: np.ndarray,
    utilities: np.ndarray,
    null_utility: float,
    grand_utility: float,
    names: Sequence[str],
    *,
    seeds: np.ndarray | None = None,
    draws: np.ndarray | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> SurePairs:
    """Find the pairs of contributors who are surely substitutes or complements.

    Twenty contributors are 190 pairs, of which 10 have a 95% interval without zero by chance. So pairs are selected by
    the procedure of Benjamini and Hochberg (1995): of the selected pairs, at most the fraction 1 - confidence is
    expected to be false, and in a game without interactions any pair is selected with at most this probability. The
    intervals of selected pairs are wider, so that the expected fraction of them that miss is as small (Benjamini and
    Yekutieli 2005). A pair is named if its interval, widened for effects of any distribution as well, excludes zero.

    Args:
        masks, utilities, null_utility, grand_utility, seeds, draws, confidence, seed: as `fit_game`.
        names: of the contributors, `(n,)`.

    Returns:
        The pairs, or why none were tested.
    """
    if omitted := _omitted(masks):
        return SurePairs(omitted=omitted)
    repeats = checked_repeats(masks, utilities, null_utility, grand_utility, seeds, draws, ridge=0.0)
    fitted = fit_interacting(observe(to_units(repeats.masks, repeats.utilities), repeats), seed=seed)
    estimated, freedom = pairs_of(fitted, repeats.masks), fitted.posterior.freedom
    half = half_widths(estimated, freedom, 1 - confidence)
    upper = np.triu(np.ones_like(half, dtype=bool), 1)
    first, second = np.nonzero(upper & ~estimated.unresolved & (np.abs(estimated.values) > half))
    order = np.argsort(-np.abs(estimated.values[first, second]), kind="stable")[:MOST_NAMED]
    return SurePairs(
        pairs=tuple(
            SurePair(
                names[one],
                names[other],
                float(estimated.values[one, other]),
                float(estimated.values[one, other] - half[one, other]),
                float(estimated.values[one, other] + half[one, other]),
            )
            for one, other in zip(first[order], second[order], strict=True)
        ),
        named=len(first),
        tested=int(upper.sum()),
        unresolved=int((upper & estimated.unresolved).sum()),
        common=float(estimated.values[upper].mean()),
    )


def _omitted(masks: np.ndarray) -> str:
    """Why pairs of these coalitions are not tested; empty if they are."""
    coalitions, n_players = masks.shape
    if n_players < 4:
        return f"interactions of pairs need at least 4 contributors, and there are {n_players}"
    if n_players > MOST_CONTRIBUTORS:
        return f"pairs are tested for at most {MOST_CONTRIBUTORS} contributors, and there are {n_players}"
    if coalitions > MOST_OF_AUTO:
        return f"pairs are tested with at most {MOST_OF_AUTO:,} measurements, and there are {coalitions:,}"
    if len(np.unique(masks, axis=0)) < n_players:
        return f"pairs need at least as many coalitions as contributors, and there are fewer than {n_players}"
    return ""


def half_widths(estimated: Pairs, freedom: float, error: float) -> np.ndarray:
    """Half the widths of the intervals; infinite for pairs that are not selected, `(n, n)`."""
    upper = np.triu_indices(len(estimated.values), 1)
    ratios = np.abs(estimated.values[upper]) / estimated.stderr[upper]
    chances = 2 * stdtr(freedom, -ratios)
    chances[estimated.unresolved[upper]] = 1.0
    level = error * rejected(chances, error) / len(chances)
    if level == 0:
        return np.full_like(estimated.values, np.inf)
    reach = stdtrit(freedom, 1 - level / 2)
    usual = stdtrit(freedom, 1 - error / 2) * widening(estimated.left_share, 1 - error)
    half: np.ndarray = np.maximum(reach, usual) * estimated.stderr
    return half


def rejected(chances: np.ndarray, error: float) -> int:
    """Number of tests that the procedure of Benjamini and Hochberg rejects."""
    ordered, ranks = np.sort(chances), np.arange(1, len(chances) + 1)
    passing = np.flatnonzero(ordered <= error * ranks / len(chances))
    return int(passing[-1] + 1) if len(passing) else 0

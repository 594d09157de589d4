"""How far values by generated images are from those that more generated images would give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from royalty.models.base.choices import Division
from royalty.models.data.teams import credited
from royalty.models.valuation.gmvaluator import Contributions


def contributor_errors(
    contributions: Contributions,
    contributors: Sequence[str],
    *,
    generated: int,
    earliest: np.ndarray,
    division: Division = "earliest",
) -> dict[str, float]:
    """Standard errors of the values of contributors, by the sample of generated images.

    Generated images are drawn independently, so the variance of the sum of a contributor's values in m images is m
    times their variance over images. One image more is added, of the mean square of all values that are not 0: so
    whoever is behind none of the images has an error, too.

    Args:
        contributions: of `royalty.models.valuation.gmvaluator.gmvaluator_values`.
        contributors: one text for each item, several names separated by `;`, among whom its value is divided equally.
        generated: number of generated images, m.
        earliest: the result of `royalty.models.valuation.copies.earliest_of_each`.
        division: see `royalty.models.valuation.copies.divided`.

    Returns:
        By name, at least 0, in the units of the values that `contributor_values` gives.
    """
    teams = [credited(text) for text in contributors]
    names = sorted({name for team in teams for name in team})
    place = {name: column for column, name in enumerate(names)}
    rows = np.repeat(np.arange(len(teams)), [len(team) for team in teams])
    columns = [place[name] for team in teams for name in team]
    parts = [1 / len(team) for team in teams for _ in team]
    shares = csr_array((parts, (rows, columns)), shape=(len(teams), len(names)))
    if division == "equal":  # each member of a group has the same of what its earliest member stands for
        members = 1 / np.bincount(earliest, minlength=len(teams))[earliest]
        everybody = np.arange(len(teams))
        shares = csr_array((members, (earliest, everybody)), shape=(len(teams), len(teams))) @ shares
    scores = (contributions.score, (contributions.generated, contributions.item))
    values = csr_array(scores, shape=(generated, len(teams))) @ shares  # (generated, contributors)
    squares = values.power(2)
    sums, of_squares = np.asarray(values.sum(axis=0)), np.asarray(squares.sum(axis=0))
    counted = generated / (generated - 1) if generated > 1 else 1.0
    one_more = squares.data[squares.data > 0].mean() if (squares.data > 0).any() else 0.0
    variances = np.maximum(counted * (of_squares - sums**2 / generated), 0) + one_more
    return dict(zip(names, np.sqrt(variances).tolist(), strict=True))

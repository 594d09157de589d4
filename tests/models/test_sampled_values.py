"""Standard errors of contributors' values by the sample of generated images: a closed form, a law and coverage."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.valuation.gmvaluator import Contributions
from royalty.models.valuation.grouped import grouped_shapley
from royalty.models.valuation.items import contributor_values
from royalty.models.valuation.sampled_values import contributor_errors
from royalty.models.valuation.shapley import ShapleyEstimate


def contributions(values: np.ndarray) -> Contributions:
    """Of all that is not 0 in `(generated, items)`."""
    generated, item = np.nonzero(values)
    return Contributions(generated, item, np.zeros(len(item)), values[generated, item])


def test_the_closed_form_with_teams_and_one_image_more() -> None:
    values = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    found = contributor_errors(contributions(values), ["ann", "ann;bo", "cy"], generated=2, earliest=np.arange(3))
    of_image = {"ann": [0.75, 1.0], "bo": [0.25, 0.0], "cy": [0.0, 0.0]}
    one_more = np.mean([0.75**2, 1.0, 0.25**2])
    assert found == pytest.approx(
        {name: np.sqrt(2 * np.var(rows, ddof=1) + one_more) for name, rows in of_image.items()}
    )


def test_a_group_of_copies_divides_the_error_as_its_value() -> None:
    values, earliest = np.array([[0.8, 0.0], [0.2, 0.0], [0.5, 0.0]]), np.array([0, 0])
    own, both = (
        contributor_errors(contributions(values), ["ann", "bo"], generated=3, earliest=earliest, division=division)
        for division in ("earliest", "equal")
    )
    assert both["ann"] == both["bo"] == pytest.approx(own["ann"] / 2)


def test_members_of_groups_are_covered() -> None:
    """A source of each generated image is drawn: credit by it is covered as often as intervals say, with few images."""
    draw, names = np.random.default_rng(0), [f"{place:02}" for place in range(40)]
    likely = draw.dirichlet(np.full(40, 0.5))
    groups, covered, sure = np.arange(40) % 4, [], []
    of_groups = np.bincount(groups, likely)
    exact = ShapleyEstimate(of_groups, np.zeros(4), of_groups, of_groups, 10, {})
    for _ in range(200):
        values = draw.multinomial(1, likely, 100).astype(float)
        parts = contributor_values(values.sum(axis=0), names)
        errors = contributor_errors(contributions(values), names, generated=100, earliest=np.arange(40))
        credit = grouped_shapley(exact, groups, list(parts.values()), parts_stderr=[errors[name] for name in names])
        covered.append((credit.ci_low <= likely) & (likely <= credit.ci_high))
        sure.append(credit.ci_low > 0)
    assert 0.93 <= np.mean(covered) <= 0.995
    assert np.mean(covered, axis=0).min() > 0.88
    assert np.mean(sure) < 0.5, "who is behind few of a hundred images cannot be told from nobody"

"""Shares of a generated image."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation.attribution import (
    attribution,
    closeness,
    contributor_shares,
    far_distance,
    memorization_p_value,
)
from royalty.models.valuation.gmvaluator import gmvaluator_values


def test_shares_are_those_of_gmvaluator_at_quality_one() -> None:
    draws = np.random.default_rng(0)
    train, generated = draws.random((50, 8)), draws.random((1, 8))
    values = gmvaluator_values(train, generated, k=10, temperature=0.1)
    rows = values.contributions.of(0)
    divided = attribution(rows.distance, temperature=0.1, far=2.0)
    assert divided.shares == pytest.approx(rows.score, abs=1e-12)
    assert divided.shares.sum() == pytest.approx(1)
    assert divided.effective == pytest.approx(values.diagnostics["effective_neighbours"])
    assert not divided.far


def test_equal_distances_share_equally_and_far_ones_are_said() -> None:
    divided = attribution(np.full(4, 0.5), temperature=0.1, far=0.4)
    assert divided.shares.tolist() == [0.25] * 4
    assert divided.effective == pytest.approx(4)
    assert divided.far


def test_the_rate_of_far_is_that_of_the_sample() -> None:
    nearest = np.random.default_rng(1).random(1_000)
    far = far_distance(nearest, 0.05)
    assert 0.04 < (nearest > far).mean() <= 0.05
    with pytest.raises(InputError, match="got 1"):
        far_distance(nearest, 1.0)


def test_shares_of_an_item_are_divided_among_its_contributors() -> None:
    shares = contributor_shares(np.array([0.5, 0.3, 0.2]), ["Ada; Bob", "Bob", "Cyd;"])
    assert shares == pytest.approx({"Bob": 0.55, "Ada": 0.25, "Cyd": 0.2})
    assert list(shares) == ["Bob", "Ada", "Cyd"]
    team = contributor_shares(np.array([0.6, 0.4]), ["Ada:2; Bob:1", "Bob"])
    assert team == pytest.approx({"Ada:2;Bob:1": 0.6, "Bob": 0.4}), "a team is paid by its weights, as for credit"


def test_the_order_of_items_changes_nothing() -> None:
    shares = np.random.default_rng(2).dirichlet(np.ones(200))
    names = [f"c{number % 7}" for number in range(200)]
    order = np.random.default_rng(3).permutation(200)
    assert contributor_shares(shares, names) == contributor_shares(shares[order], [names[row] for row in order])


def test_p_values_of_images_that_were_not_trained_on_are_uniform() -> None:
    draws = np.random.default_rng(4)
    usual, others = np.sort(draws.random(999)), draws.random(2_000)
    found = np.array([memorization_p_value(close, usual) for close in others])
    for level in (0.01, 0.1, 0.5):
        assert (found <= level).mean() == pytest.approx(level, abs=0.04)
    assert memorization_p_value(0.0, usual) == 1 / 1_000
    assert memorization_p_value(2.0, usual) == 1


def test_closeness() -> None:
    assert closeness(np.array([0.2, *[0.8] * 50, 9.0])) == pytest.approx(0.25)  # the next fifty, and no more
    assert closeness(np.array([0.0, 0.0])) == 0
    assert closeness(np.array([0.3])) == 0

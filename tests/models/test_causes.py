"""Effects of removals on generated images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from royalty.models.base.errors import InputError
from royalty.models.judging.causes import most_valuable, own_effect, removal_effect


def test_the_effect_is_paired_by_seed() -> None:
    generator = np.random.default_rng(0)
    whole = generator.normal(100, 10, (5, 40)) + generator.normal(0, 20, (5, 1))  # seeds differ more than removals do
    random = whole + generator.normal(1, 0.5, (5, 40))
    without = random + generator.normal(2, 0.5, (5, 40))
    found = removal_effect(without, random, whole)
    assert found.effect == pytest.approx((without - whole).mean())
    assert found.ahead == pytest.approx((without - random).mean())
    expected = ttest_rel(without.mean(axis=1), random.mean(axis=1), alternative="greater")
    assert found.p == pytest.approx(expected.pvalue)
    assert found.p < 1e-4
    assert found.images == 1
    reverse = removal_effect(random, without, whole)
    assert reverse.p == pytest.approx(1 - found.p)
    assert reverse.images == 0
    one = removal_effect(without[:1], random[:1], whole[:1])
    assert one.ahead > 0
    assert np.isnan([one.p, one.stderr]).all()


def test_the_most_valuable_are_those_of_highest_total() -> None:
    items, scores = np.array([3, 1, 3, 0, 2]), np.array([0.4, 0.5, 0.3, 0.1, 0.0])
    assert most_valuable(items, scores, 6, 2).tolist() == [1, 3]
    assert most_valuable(items, scores, 6, 1).tolist() == [3]


def test_losses_of_other_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"got \(2, 3\), \(2, 4\) and \(2, 3\)"):
        removal_effect(np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 3)))


def test_the_items_behind_an_image_are_compared_with_those_behind_others() -> None:
    generator = np.random.default_rng(0)
    hard = generator.normal(100, 30, (1, 1, 8))  # images differ more than removals do, and so do models
    losses = hard + generator.normal(0, 5, (3, 8, 1)) + generator.normal(0, 0.5, (3, 8, 8))
    nothing = own_effect(losses)
    assert 0.01 < nothing.p < 0.99
    found = own_effect(losses + 10 * np.eye(8))
    assert found.effect == pytest.approx(nothing.effect + 10)
    assert found.effects == pytest.approx(nothing.effects + 10)
    assert (found.images, found.p < 0.001) == (1, True)
    means = losses.mean(axis=0)
    by_hand = [means[i, i] - np.delete(means[:, i], i).mean() for i in range(8)]
    assert nothing.effects == pytest.approx(by_hand)
    assert nothing.stderr == pytest.approx(np.std(by_hand, ddof=1) / 8**0.5)


def test_all_orders_of_a_few_images_are_tried() -> None:
    assert own_effect(np.eye(3)[None]).p == pytest.approx(1 / 6)


def test_removals_are_as_many_as_images() -> None:
    with pytest.raises(InputError, match=r"three images or more.*got \(1, 2, 3\)"):
        own_effect(np.ones((1, 2, 3)))
    with pytest.raises(InputError, match=r"got \(1, 2, 2\)"):
        own_effect(np.ones((1, 2, 2)))

"""Faithful group Shapley values: sums of single images' values, whatever the names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import stdtrit

from royalty.models.base.errors import InputError
from royalty.models.valuation.faithful import faithful_shapley
from royalty.models.valuation.image_sets import sample_image_sets
from royalty.models.valuation.semivalues import exact_shapley

IMAGES = np.array([2, 3, 4, 5])
"""Images of four contributors; 14 in all, so that values of single images can be enumerated."""

OWNER = np.repeat(np.arange(4), IMAGES)

Utility = Callable[[np.ndarray], np.ndarray]


def counted(utility: Utility, owner: np.ndarray, sets: int, seed: int, noise: float = 0.0):
    """Counts by contributor and utilities of drawn sets."""
    drawn = sample_image_sets(len(owner), sets, seed=seed)
    masks = np.zeros((sets, len(owner)), bool)
    for row, chosen in enumerate(drawn):
        masks[row, chosen] = True
    counts = np.array([[mask[owner == group].sum() for group in range(owner.max() + 1)] for mask in masks])
    return counts, utility(masks) + noise * np.random.default_rng(seed).normal(size=sets)


def concave(masks: np.ndarray) -> np.ndarray:
    """Diminishing returns of each contributor's images, which differ in worth, and of all together."""
    worth = np.array([3.0, 1.0, 2.0, 0.5])
    parts = np.stack([masks[:, group == OWNER].sum(axis=1) for group in range(4)], axis=1)
    return np.sqrt(parts * worth).sum(axis=1) + np.log1p(masks.sum(axis=1))


def by_images(utility: Utility) -> np.ndarray:
    values = exact_shapley(utility, len(OWNER))
    return np.array([values[group == OWNER].sum() for group in range(4)])


def test_sets_are_complements_of_every_size() -> None:
    sets = sample_image_sets(50, 40, seed=0)
    assert all(
        np.array_equal(np.sort(np.concatenate(pair)), np.arange(50)) for pair in zip(sets[::2], sets[1::2], strict=True)
    )
    assert min(map(len, sets)) <= 2
    again = sample_image_sets(50, 40, seed=0)
    assert all(np.array_equal(first, second) for first, second in zip(sets, again, strict=True))
    with pytest.raises(InputError, match="got 3 sets of 50"):
        sample_image_sets(50, 3, seed=0)


def test_values_are_sums_over_single_images() -> None:
    truth = by_images(concave)
    counts, utilities = counted(concave, OWNER, 4000, 0)
    found = faithful_shapley(counts, IMAGES, utilities, 0.0, float(concave(np.ones((1, 14), bool))[0]))
    assert found.values == pytest.approx(truth, abs=0.05)
    assert found.diagnostics["efficiency_gap"] < 1e-9


def test_intervals_hold_the_truth() -> None:
    truth, grand, inside = by_images(concave), float(concave(np.ones((1, 14), bool))[0]), []
    for seed in range(60):
        counts, utilities = counted(concave, OWNER, 60, seed, noise=0.1)
        found = faithful_shapley(counts, IMAGES, utilities, 0.0, grand)
        inside.append((found.ci_low <= truth) & (truth <= found.ci_high))
    assert 0.9 <= np.mean(inside) <= 0.99


def drawn(sets: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Counts, utilities, truth and the grand utility of an additive game of eight contributors with 30 images each."""
    generator, owner = np.random.default_rng(seed), np.repeat(np.arange(8), 30)
    worth = generator.gamma(1, size=240) * generator.gamma(1, size=8).repeat(30)
    counts, utilities = counted(lambda masks: masks @ worth, owner, sets, seed)
    measured = utilities + noise * generator.normal(size=sets)
    return counts, measured, np.bincount(owner, worth), worth.sum() + noise * generator.normal()


@pytest.mark.parametrize(("sets", "noise"), [(32, 0.2), (128, 0.2), (128, 9.0)])
def test_intervals_hold_the_truth_where_images_of_a_contributor_differ(sets: int, noise: float) -> None:
    """A set and its complement then have errors of opposite signs, which are one observation."""
    inside, errors, stderr = [], [], []
    for seed in range(30):
        counts, utilities, truth, grand = drawn(sets, seed, noise)
        found = faithful_shapley(counts, np.full(8, 30), utilities, 0.0, grand)
        inside.append((found.ci_low <= truth) & (truth <= found.ci_high))
        errors.append(found.values - truth)
        stderr.append(found.stderr)
    assert np.mean(inside) >= 0.92
    assert 0.4 < np.std(errors) / np.sqrt(np.mean(np.square(stderr))) < 1.2


def test_complements_are_found_in_any_order_and_without_them_sets_count_one_by_one() -> None:
    counts, utilities, _, grand = drawn(64, 0, 0.2)
    images, order = np.full(8, 30), np.random.default_rng(0).permutation(64)
    in_pairs = faithful_shapley(counts, images, utilities, 0.0, grand)
    mixed = faithful_shapley(counts[order], images, utilities[order], 0.0, grand)
    assert mixed.stderr == pytest.approx(in_pairs.stderr, rel=0.1), "few images are in many sets of the same counts"
    assert mixed.values == pytest.approx(in_pairs.values)
    shared = counts / 3  # images of three contributors each are a third for each
    in_thirds = faithful_shapley(shared, images / 3, utilities, 0.0, grand)
    assert in_thirds.stderr == pytest.approx(in_pairs.stderr)
    alone = faithful_shapley(counts[::2], images, utilities[::2], 0.0, grand)
    reach = (alone.ci_high - alone.values) / alone.stderr
    assert reach == pytest.approx(stdtrit(32 - 12, 0.975)), "32 sets, seven effects and five terms of the size"


def test_a_second_name_pays_nothing_where_contributors_as_players_pay_it() -> None:
    def saturating(masks: np.ndarray) -> np.ndarray:
        return np.log1p(masks.sum(axis=1))  # all images are alike

    grand = float(np.log1p(14))
    split = OWNER + 1
    split[:1] = 0  # the first contributor's two images under two names
    one = faithful_shapley(*order(counted(saturating, OWNER, 400, 0)), 0.0, grand)
    two = faithful_shapley(*order(counted(saturating, split, 400, 0), split), 0.0, grand)
    assert two.values[0] + two.values[1] == pytest.approx(one.values[0], abs=0.01)
    assert one.values == pytest.approx(grand * IMAGES / 14, abs=0.02), "images that are alike are worth the same"

    def of_groups(owner: np.ndarray) -> np.ndarray:
        members = [owner == group for group in range(owner.max() + 1)]
        return exact_shapley(lambda masks: saturating((masks[:, None] & np.array(members).T).any(axis=2)), len(members))

    players, twice = of_groups(OWNER), of_groups(split)
    assert twice[0] + twice[1] > 1.05 * players[0]


def order(measured: tuple[np.ndarray, np.ndarray], owner: np.ndarray = OWNER):
    counts, utilities = measured
    return counts, np.bincount(owner), utilities


def test_what_cannot_be_estimated_is_refused() -> None:
    counts, utilities = counted(concave, OWNER, 20, 0)
    for arguments, says in (
        ((counts[:6], IMAGES, utilities[:6]), "at least 12 sets of images, got 6"),
        ((counts, IMAGES[:3], utilities), "3 contributors"),
        ((counts * 9, IMAGES, utilities), "Correct the counts"),
        ((counts.astype(str), IMAGES, utilities), "`counts` holds real numbers"),
        (([[1, 2], [3]], IMAGES, utilities), "`counts` has rows of equal length"),
        ((counts[0], IMAGES, utilities), "counts of shape"),
        ((counts, [2, 3, 4, np.inf], utilities), "Correct the counts"),
        ((counts, IMAGES, utilities * 1e200), "Give them in another unit"),
        ((np.repeat(counts[:1], 20, axis=0), IMAGES, utilities), "do not tell the contributors apart"),
    ):
        with pytest.raises(InputError, match=says):
            faithful_shapley(*arguments, 0.0, 1.0)

"""Linear datamodeling scores of single images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from royalty.models.base.errors import InputError
from royalty.models.judging.image_lds import SubsetRanking
from royalty.models.judging.ranking import HeldOutRanking, lead
from royalty.models.judging.subsets import random_rows, random_subsets

SUBSETS, ITEMS, IMAGES = 24, 200, 10


def additive(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Subsets, values of items for images, and losses that are minus the sums of values, up to a constant of images."""
    generator = np.random.default_rng(seed)
    masks = random_subsets(ITEMS, 0.5, range(seed, seed + SUBSETS))
    values = generator.normal(size=(ITEMS, IMAGES))
    return masks, values, generator.normal(100, 30, IMAGES) - masks @ values


def test_additive_losses_are_predicted() -> None:
    masks, values, losses = additive(0)
    ranking = SubsetRanking(losses)
    found = ranking.score(masks @ values)
    assert found.images == pytest.approx(np.ones(IMAGES))
    for score in (found.over_images, found.over_both):
        assert (score.lds, score.low, score.high) == pytest.approx((1, 1, 1))
        assert (score.coalitions, score.groups) == (SUBSETS, IMAGES)
    assert found.p == pytest.approx(1 / 500)
    assert ranking.score(masks @ -values).over_images.lds == pytest.approx(-1)
    assert ranking.score(masks @ -values).p == 1


def test_the_score_is_the_mean_correlation_of_images() -> None:
    masks, values, losses = additive(1)
    noisy = losses + np.random.default_rng(1).normal(0, 10, losses.shape)
    found = SubsetRanking(noisy).score(masks @ values)
    by_hand = [spearmanr((masks @ values)[:, image], -noisy[:, image]).statistic for image in range(IMAGES)]
    assert found.images == pytest.approx(by_hand)
    assert found.over_images.lds == found.over_both.lds == pytest.approx(np.mean(by_hand))
    error = np.std(by_hand) / IMAGES**0.5
    assert found.over_images.high - found.over_images.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert 0.3 < found.over_images.lds < 0.95


def test_shuffled_values_predict_nothing() -> None:
    masks, values, losses = additive(2)
    ranking = SubsetRanking(losses)
    shuffles = [np.random.default_rng(seed).permutation(values) for seed in range(40)]
    scores = [ranking.correlation(masks @ shuffled) for shuffled in shuffles]
    expected = (1 / (SUBSETS - 1) / IMAGES) ** 0.5  # of a mean of independent rank correlations
    assert np.std(scores) == pytest.approx(expected, rel=0.4)
    assert abs(np.mean(scores)) < 4 * expected / 40**0.5
    chance = ranking.chance(masks)
    assert abs(chance.lds) < 4 * expected / 100**0.5 * IMAGES**0.5
    assert chance.low < 0 < chance.high


def test_images_of_the_same_models_are_no_repetitions() -> None:
    """Images with equal losses and values say as much as one does, however many they are."""
    generator = np.random.default_rng(5)
    loss = generator.normal(size=SUBSETS)
    prediction = -loss + generator.normal(0, 5, SUBSETS)
    losses, predicted = (np.repeat(column[:, None], IMAGES, axis=1) for column in (loss, prediction))
    found = SubsetRanking(losses, seed=7).score(predicted)
    alone = HeldOutRanking(-loss, np.zeros(SUBSETS, dtype=int), seed=7).score(prediction)
    assert found.over_images.low == pytest.approx(found.over_images.high)
    assert (found.over_both.low, found.over_both.high) == pytest.approx((alone.low, alone.high))
    expected = spearmanr(prediction, -loss, alternative="greater").pvalue
    assert 0.1 < expected < 0.3
    assert found.p == pytest.approx(expected, abs=0.06)


def test_methods_are_compared_on_the_same_images() -> None:
    masks, values, losses = additive(3)
    ranking = SubsetRanking(losses)
    noise = np.random.default_rng(30).normal(size=values.shape)
    better, worse = (ranking.score(masks @ (values + share * noise)) for share in (0.5, 2.0))
    found = lead(better.over_images, worse.over_images)
    assert found.difference == pytest.approx((better.images - worse.images).mean())
    assert found.p < 0.01
    assert lead(worse.over_both, better.over_both).high < 0
    assert lead(better.over_both, better.over_both).p == 1


def test_values_that_do_not_vary_score_zero() -> None:
    masks, values, losses = additive(4)
    values[:, 0] = 1  # each subset has as many items
    assert SubsetRanking(losses).score(masks @ values).images[0] == 0


def test_subsets_are_what_random_removals_leave() -> None:
    masks = random_subsets(21, 0.7, [5, 6])
    for mask, seed in zip(masks, [5, 6], strict=True):
        assert sorted(random_rows(21, 6, seed)) == np.flatnonzero(~mask).tolist()
    assert masks.sum(axis=1).tolist() == [15, 15]
    with pytest.raises(InputError, match=r"at least one training image; got `kept` = 0.01 of 20. Keep a larger"):
        random_subsets(20, 0.01, [0, 1, 2])
    with pytest.raises(InputError, match=r"got \d+ different ones of `subsets` = 40, with `kept` = 0.05 of 20"):
        random_subsets(20, 0.05, range(40))


def test_too_few_subsets_or_images() -> None:
    for shape in ((2, 5), (5, 1), (5,)):
        with pytest.raises(InputError, match="3 subsets or more and of two images or more"):
            SubsetRanking(np.ones(shape))

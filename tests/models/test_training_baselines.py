"""Data-OOB, confident learning and KAIROS: cases computed by hand, and laws."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.encoders.head import fit_head
from royalty.models.valuation.kairos import kairos_values
from royalty.models.valuation.training_baselines import (
    adjusted_confidence,
    class_thresholds,
    confident_learning_values,
    out_of_bag_means,
    out_of_bag_values,
)


def two_clusters(items: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(items) % 2
    return np.random.default_rng(seed).normal(size=(items, 3)) + 6 * labels[:, None], labels


def test_only_classifiers_without_the_item_count() -> None:
    correct = np.array([[True, False, True], [True, True, False], [False, True, True], [True, True, True]])
    out = np.array([[True, True, False], [False, False, True], [True, True, False], [True, False, True]])
    np.testing.assert_allclose(out_of_bag_means(correct, out), [2 / 3, 1 / 2, 1 / 2])
    out[:, 1] = False
    with pytest.raises(InputError, match="item 1 is in all 4"):
        out_of_bag_means(correct, out)


def test_every_item_is_out_of_about_a_third_of_the_bags() -> None:
    features, labels = two_clusters(200, 0)
    values = out_of_bag_values(features, labels, features, labels, seed=0, bags=400)
    assert (values.values == 1).all(), "the clusters are far apart"
    # (1 - 1/200)^200 of 400 bags are 147; the least of 200 counts is within four standard deviations of 9.6.
    assert 147 - 4 * 9.6 < values.diagnostics["fewest"] < 147


@pytest.mark.parametrize("values", [out_of_bag_values, confident_learning_values])
def test_validation_is_not_used(values) -> None:  # type: ignore[no-untyped-def]
    features, labels = two_clusters(60, 1)
    val, val_labels = two_clusters(20, 2)
    first = values(features, labels, val, val_labels, seed=0)
    np.testing.assert_array_equal(values(features, labels, -val, 1 - val_labels, seed=0).values, first.values)


@pytest.mark.parametrize("method", ["data-oob", "confident-learning", "kairos"])
def test_a_wrong_label_comes_last(method: str) -> None:
    features, labels = two_clusters(80, 3)
    wrong = labels.copy()
    wrong[7] = 1 - wrong[7]
    val = two_clusters(40, 4)
    values = {
        "data-oob": lambda: out_of_bag_values(features, wrong, *val, seed=0),
        "confident-learning": lambda: confident_learning_values(features, wrong, *val, seed=0),
        "kairos": lambda: kairos_values(features, wrong, *val, feature_weight=0.5),
    }[method]().values
    assert values.argmin() == 7
    assert values[7] < np.delete(values, 7).min()


def test_the_adjustment_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.8, 0.2]])
    targets = np.array([0, 0, 1, 1])
    thresholds = class_thresholds(probabilities, targets)
    np.testing.assert_allclose(thresholds, [0.8, 0.4])
    # 0.4 is added to the second class; the sum of each row is then 1.4.
    expected = np.array([0.9, 0.7, 1.0, 0.6]) / 1.4
    np.testing.assert_allclose(adjusted_confidence(probabilities, targets, thresholds), expected)


def test_an_item_is_not_judged_by_a_head_that_saw_it_or_its_copy() -> None:
    features, labels = two_clusters(40, 5)
    features, labels = np.concatenate([features, features[:1]]), np.concatenate([labels, labels[:1]])
    labels[[0, 40]] = 2  # which no other item has
    thresholds = confident_learning_values(features, labels, features, labels, seed=0).diagnostics["thresholds"]
    assert thresholds[2] == 0 < 0.8 < min(thresholds[:2])


def test_the_order_of_the_items_says_nothing_to_kairos() -> None:
    train, val = two_clusters(50, 6), two_clusters(30, 7)
    values = kairos_values(*train, *val).values
    order, val_order = np.random.default_rng(0).permutation(50), np.random.default_rng(1).permutation(30)
    moved = kairos_values(*(side[order] for side in train), *(side[val_order] for side in val)).values
    np.testing.assert_allclose(moved, values[order], atol=1e-9)


def kernel(first: np.ndarray, second: np.ndarray, bandwidth: float) -> np.ndarray:
    """The Gaussian kernel of all pairs, by its definition."""
    distances = ((first[:, None] - second) ** 2).sum(axis=2)
    result: np.ndarray = np.exp(-distances / (2 * bandwidth**2))
    return result


def test_features_have_the_derivative_of_the_squared_discrepancy() -> None:
    (train, labels), (val, val_labels) = two_clusters(30, 8), two_clusters(20, 9)
    values = kairos_values(train, labels, val, val_labels, feature_weight=1, bandwidth=3).values

    def squared(weights: np.ndarray) -> float:
        within, between = kernel(train, train, 3), kernel(train, val, 3).mean(axis=1)
        return float(weights @ within @ weights - 2 * weights @ between + kernel(val, val, 3).mean())

    uniform, step = np.full(30, 1 / 30), 1e-6
    towards = [
        squared((1 - step) * uniform + step * item) - squared((1 + step) * uniform - step * item) for item in np.eye(30)
    ]
    derivatives = np.array(towards) / (2 * step)
    np.testing.assert_allclose(values - values.mean(), -(derivatives - derivatives.mean()) / 2, atol=1e-8)


def test_labels_count_by_the_error_of_a_head_of_validation() -> None:
    (train, labels), (val, val_labels) = two_clusters(30, 8), two_clusters(20, 9)
    labels[:4] = 1 - labels[:4]
    features, errors = (
        kairos_values(train, labels, val, val_labels, feature_weight=w, bandwidth=3).values for w in (1, 0)
    )
    probabilities = fit_head(val, val_labels).probabilities(train)
    np.testing.assert_allclose(errors, -np.linalg.norm(np.eye(2)[labels] - probabilities, axis=1))
    both = kairos_values(train, labels, val, val_labels, bandwidth=3).values
    np.testing.assert_allclose(both, 0.97 * features + 0.03 * errors)
    default = kairos_values(train, labels, val, val_labels).diagnostics["bandwidth"]
    assert 2 * default**2 == pytest.approx(((train[:, None] - val) ** 2).sum(axis=2).mean())


def test_bad_settings_are_refused() -> None:
    items = (*two_clusters(20, 0), *two_clusters(20, 1))
    with pytest.raises(InputError, match="at least one of bags, got 0"):
        out_of_bag_values(*items, seed=0, bags=0)
    with pytest.raises(InputError, match="at least 2 folds, got 1"):
        confident_learning_values(*items, seed=0, folds=1)
    with pytest.raises(InputError, match=r"between 0 and 1, got 1\.5"):
        kairos_values(*items, feature_weight=1.5)
    with pytest.raises(InputError, match="a number above 0, got 0"):
        kairos_values(*items, bandwidth=0)

"""Class shares that differ, what they do to values by transport, and values within classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from royalty.models.valuation.class_shares import class_shares, within_class
from royalty.models.valuation.lava import lava_values


def test_shares_by_hand() -> None:
    found = class_shares(np.array([3, 3, 3, 5]), np.array([3, 5, 5, 9, 3]))
    assert found.labels.tolist() == [3, 9, 5]
    np.testing.assert_allclose(found.train, [0.75, 0, 0.25])
    np.testing.assert_allclose(found.val, [0.4, 0.2, 0.4])
    assert found.mass == pytest.approx(0.35)
    assert found.differ
    same = class_shares(np.array(["a", "b"] * 3), np.array(["b", "a"]))
    assert (same.mass, same.differ) == (0, False)


def test_values_within_class_have_a_median_of_zero_and_ignore_what_a_class_shares() -> None:
    generator = np.random.default_rng(0)
    values, labels = generator.normal(size=31), generator.integers(3, size=31)
    centred = within_class(values, labels)
    for label in range(3):
        assert np.median(centred[labels == label]) == pytest.approx(0)
    np.testing.assert_allclose(within_class(values + 7.0 * labels, labels), centred)


def test_where_shares_differ_values_within_classes_find_wrong_labels_better() -> None:
    """Easy blobs, 15% of whose labels are wrong: values of clean items depend more on their class than on them."""
    rates = [blobs([0.43, 0.33, 0.24], seed) for seed in (1, 2)]
    assert all(mass >= 0.05 and values < within - 0.05 for mass, values, within in rates)
    even = blobs([1 / 3, 1 / 3, 1 / 3], 1)
    assert even[0] < 0.05
    assert even[1] > 0.99


def blobs(weights: list[float], seed: int) -> tuple[float, float, float]:
    """Mass between classes, and AUROC of wrong labels by LAVA's values and by those within classes."""
    generator = np.random.default_rng(seed)
    centres = 6 * generator.normal(size=(3, 5))
    labels, val_labels = generator.choice(3, 300, p=weights), np.repeat([0, 1, 2], 50)
    train, val = (
        (centres[side] + generator.normal(size=(len(side), 5))).astype(np.float32) for side in (labels, val_labels)
    )
    wrong = generator.random(300) < 0.15
    given = labels.copy()
    given[wrong] = (given[wrong] + generator.integers(1, 3, wrong.sum())) % 3
    values = lava_values(train, given, val, val_labels).values
    ranked = (values, within_class(values, given))
    return class_shares(given, val_labels).mass, *(float(roc_auc_score(wrong, -each)) for each in ranked)

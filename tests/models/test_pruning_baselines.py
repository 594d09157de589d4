"""EL2N with a window, and cluster centres: cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from royalty.models.base.errors import InputError
from royalty.models.valuation.pruning_baselines import cluster_centre_values, el2n_window_values


def clusters(items: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(items) % classes
    generator = np.random.default_rng(seed)
    return generator.normal(size=(items, 4)) + 8 * np.eye(4)[labels], labels


def test_the_window_leaves_out_wrong_labels_and_keeps_its_fraction() -> None:
    features, labels = clusters(300, 0)
    wrong = np.arange(300) < 60
    given = np.where(wrong, (labels + 1) % 3, labels)
    found = el2n_window_values(features, given, *clusters(120, 1), seed=0, kept=0.8)
    assert found.diagnostics["offset"] == 0, "the hardest items are the wrong ones, and are left out"
    assert found.diagnostics["accuracy"] > 0.95
    lowest = np.argsort(found.values)[:60]
    assert wrong[lowest].mean() > 0.95
    whole = el2n_window_values(features, given, *clusters(120, 1), seed=0, kept=1.0)
    assert whole.diagnostics["offset"] == 0
    np.testing.assert_allclose(np.abs(whole.values).min(), 0.5 / 300)


def test_a_window_that_keeps_nothing_or_more_than_all_is_refused() -> None:
    items = (*clusters(30, 0), *clusters(30, 1))
    for kept in (0.0, 1.01, float("nan")):
        with pytest.raises(InputError, match="the window keeps a fraction of the items"):
            el2n_window_values(*items, seed=0, kept=kept)
    with pytest.raises(InputError, match="at least one of runs"):
        el2n_window_values(*items, seed=0, runs=0)


def test_items_far_from_their_centre_are_worth_more_whatever_their_label_or_length() -> None:
    features, labels = clusters(300, 0)
    apart = np.arange(300) < 15
    features = np.where(apart[:, None], features[:, ::-1] + features, features)  # between the directions of clusters
    val = clusters(120, 1)
    found = cluster_centre_values(features, labels, *val, seed=0, centres=[3])
    assert roc_auc_score(apart, found.values) > 0.9
    assert ((found.values >= 0) & (found.values <= 2)).all()
    lengths = np.random.default_rng(2).uniform(0.5, 2, size=(300, 1))
    rescaled = cluster_centre_values(features * lengths, (labels + 1) % 3, *val, seed=0, centres=[3])
    np.testing.assert_allclose(rescaled.values, found.values, atol=1e-9)


def test_few_items_have_one_centre() -> None:
    same = np.arange(1, 7)[:, None] * np.array([[1.0, 2.0]])
    labels = np.arange(6) % 2
    found = cluster_centre_values(same, labels, same, labels, seed=0)
    assert found.diagnostics["centres"] == 1
    np.testing.assert_allclose(found.values, 0, atol=1e-12)

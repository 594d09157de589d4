"""Equal class shares, the control that sees shares alone, and means over draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from royalty.models.base.errors import InputError
from royalty.models.data.planting import equal_shares, share_values
from royalty.models.judging.detection import detection
from royalty.models.judging.draws import over_draws


def test_shares_are_equal_and_planted_items_stay() -> None:
    generator = np.random.default_rng(0)
    labels, val_labels = generator.choice(4, 900, p=[0.4, 0.3, 0.2, 0.1]), generator.choice(5, 300)
    planted = (labels == 2) & (generator.random(900) < 0.25)
    control = share_values(labels, val_labels)
    assert detection(control, planted).auroc != 0.5
    rows, val_rows = equal_shares(labels, planted, val_labels, seed=1)
    assert planted[rows].sum() == planted.sum()
    assert set(val_labels[val_rows]) == {0, 1, 2, 3}
    control = share_values(labels[rows], val_labels[val_rows])
    assert (control == 0).all()
    assert detection(control, planted[rows]).auroc == 0.5
    again = equal_shares(labels, planted, val_labels, seed=1)
    assert np.array_equal(again[0], rows)


def test_planted_items_are_left_out_of_a_class_that_has_too_many() -> None:
    labels, val_labels = np.repeat([0, 1], [100, 40]), np.repeat([0, 1], 20)
    planted = (labels == 0) & (np.arange(140) < 70)
    rows, _ = equal_shares(labels, planted, val_labels, seed=1)
    assert np.bincount(labels[rows]).tolist() == [40, 40]
    assert planted[rows].sum() == 40


def test_a_class_that_is_too_small_is_refused() -> None:
    labels, val_labels = np.array([0] * 50 + [1]), np.array([0, 1] * 20)
    with pytest.raises(InputError, match="class_shares: changed"):
        equal_shares(labels, labels == 9, val_labels, seed=0)


def test_means_over_draws() -> None:
    values = [0.02, 0.05, 0.01, 0.04]
    result, reference = over_draws(values), ttest_1samp(values, 0)
    interval = reference.confidence_interval(0.95)
    assert (result.mean, result.p) == pytest.approx((0.03, reference.pvalue))
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    single = over_draws([0.5])
    assert single.mean == 0.5
    assert np.isnan([single.low, single.high, single.p]).all()
    assert over_draws([0.0, 0.0]).p == 1


def test_small_sets_keep_most_of_their_items() -> None:
    generator = np.random.default_rng(3)
    labels, val_labels = generator.choice(10, 200), generator.choice(10, 120)
    rows, val_rows = equal_shares(labels, np.zeros(200, dtype=bool), val_labels, seed=0)
    counts, val_counts = np.bincount(labels[rows]), np.bincount(val_labels[val_rows])
    assert (counts * val_counts.sum() == val_counts * counts.sum()).all()
    # No less than the rarest label allows if all labels are cut to its size.
    least = min(10 * np.bincount(labels).min() / 200, 10 * np.bincount(val_labels).min() / 120)
    assert min(len(rows) / 200, len(val_rows) / 120) >= least

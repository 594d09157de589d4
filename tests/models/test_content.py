"""Samples by content: laws that hold for any items."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.valuation.content import content_keys, sampled, with_labels


def items(count: int, dimensions: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, dimensions)).astype(np.float32)


def test_equal_items_have_equal_keys_and_others_do_not() -> None:
    features = items(9000, 2)
    keys = content_keys(features)
    assert len(np.unique(keys)) == 9000
    np.testing.assert_array_equal(content_keys(features.astype(np.float64)), keys)
    np.testing.assert_array_equal(content_keys(features[::-1])[::-1], keys)
    assert (content_keys(features, seed=1) != keys).all()
    assert (content_keys(features[:, ::-1]) != keys).all()
    zeros = content_keys(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]]))
    assert zeros[0] == zeros[1] != zeros[2]
    labels = np.arange(9000) % 2 - 1
    named = with_labels(keys, labels)
    assert (named != with_labels(keys, labels + 1)).all()
    assert with_labels(keys, None) is keys


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_a_sample_is_one_of_the_set(shift: float) -> None:
    """Its mean is that of the set, within three deviations: what an item is has no influence on its key's rank."""
    features = items(20_000, 1) + np.float32(shift)
    means = [sampled(features, content_keys(features, seed=seed), 400).features.mean() for seed in range(30)]
    assert np.mean(means) == pytest.approx(features.mean(), abs=3 / (400 * 30) ** 0.5)
    assert np.std(means) == pytest.approx(1 / 20, rel=3 / 60**0.5)


def test_samples_of_parts_merge_into_that_of_the_whole() -> None:
    features = items(300)[np.random.default_rng(1).integers(0, 300, size=1000)]
    labels = np.arange(1000) % 2
    keys = with_labels(content_keys(features), labels)
    whole = sampled(features, keys, 50, labels=labels)
    merged = sampled(features[:100], keys[:100], 50, labels=labels[:100])
    for rows in (slice(100, 130), slice(130, 1000)):
        merged = merged.merged(sampled(features[rows], keys[rows], 50, labels=labels[rows]), 50)
    for name in ("features", "labels", "keys", "counts"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    for item, label, count in zip(whole.features, whole.labels, whole.counts, strict=True):  # type: ignore[arg-type]
        assert count == ((features == item).all(axis=1) & (labels == label)).sum()
    assert whole.weights.sum() == pytest.approx(1)

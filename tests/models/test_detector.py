"""The detector: what it finds, its false discoveries, laws, and the input that it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import royalty
from royalty.models.base.errors import InputError
from royalty.models.judging.detection import detection
from royalty.models.valuation.contamination import fit_tilt, fractions_by_class
from royalty.models.valuation.detector import DetectedItems

Sides = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def blobs(seed: int, items: int = 300, val_items: int = 150, apart: float = 2.0) -> Sides:
    """Clean Gaussian clusters of three labels."""
    generator = np.random.default_rng(seed)
    centres = apart * np.eye(3, 6)
    sides = []
    for count in (items, val_items):
        labels = np.arange(count) % 3
        sides += [centres[labels] + generator.normal(scale=0.6, size=(count, 6)), labels]
    return sides[0], sides[1], sides[2], sides[3]


def found_by(sides: Sides, **options: Any) -> DetectedItems:
    return royalty.detect_items(*sides, **options)


def with_wrong_labels(sides: Sides, count: int) -> tuple[Sides, np.ndarray]:
    train, labels, val, val_labels = sides
    planted = np.arange(len(labels)) < count
    return (train, np.where(planted, (labels + 1) % 3, labels), val, val_labels), planted


def test_wrong_labels_are_found_with_the_right_label() -> None:
    sides, planted = with_wrong_labels(blobs(0), 30)
    found = found_by(sides)
    assert detection(found.scores, planted).auroc > 0.97
    flagged_faulty = found.flagged & planted
    assert flagged_faulty.sum() > 20
    assert (found.reasons.parts[flagged_faulty] == "label").mean() > 0.5
    right = blobs(0)[1]
    assert (found.reasons.suggested_labels[flagged_faulty] == right[flagged_faulty]).mean() > 0.95
    near = blobs(0)[3][found.reasons.nearest]
    assert (near[planted] == right[planted, None]).mean() > 0.9
    assert found.scores[found.flagged].max() < found.scores[~found.flagged].min()
    assert found.scores.max() <= 0


def test_strange_features_are_found_by_features() -> None:
    train, labels, val, val_labels = blobs(1)
    planted = np.arange(len(labels)) < 30
    train[planted] += np.array([0, 0, 0, 6.0, 0, 0])
    found = found_by((train, labels, val, val_labels))
    assert detection(found.scores, planted).auroc > 0.97
    assert detection(found.p_values["features"], planted).auroc > detection(found.p_values["label"], planted).auroc
    assert (found.reasons.parts[planted] != "label").mean() > 0.8


@pytest.mark.parametrize("by_class", [True, False])
def test_hardly_anything_clean_is_flagged(by_class: bool) -> None:
    flagged = [found_by(blobs(seed), by_class=by_class).flagged.sum() for seed in range(8)]
    assert np.mean(flagged) <= 1.5  # of 300
    assert sum(count > 0 for count in flagged) <= 3  # at an FDR of 0.1, one or two of 8 are expected


def test_realised_false_discoveries_are_at_most_the_rate() -> None:
    realised, power = [], []
    for seed in range(8):
        sides, planted = with_wrong_labels(blobs(seed, apart=2.5), 30)
        flagged = found_by(sides, fdr=0.2).flagged
        realised.append((flagged & ~planted).sum() / max(1, flagged.sum()))
        power.append((flagged & planted).sum() / 30)
    assert np.mean(realised) <= 0.2 + 2 * np.std(realised) / 8**0.5
    assert np.mean(power) > 0.6


def test_order_of_items_changes_nothing() -> None:
    sides, _ = with_wrong_labels(blobs(2), 20)
    order = np.random.default_rng(0).permutation(len(sides[1]))
    first, second = found_by(sides), found_by((sides[0][order], sides[1][order], sides[2], sides[3]))
    np.testing.assert_allclose(second.scores, first.scores[order], atol=0.02)


def test_shares_of_labels_are_no_evidence() -> None:
    train, labels, val, val_labels = blobs(3, items=600)
    fewer = (labels != 0) | (np.arange(len(labels)) % 5 == 0)  # a fifth of a label, so that others exceed validation's
    found = found_by((train[fewer], labels[fewer], val, val_labels))
    for label in range(3):
        assert 0.35 < detection(found.scores, labels[fewer] == label).auroc < 0.65
    assert found.flagged.sum() <= 3


def test_a_set_compared_with_itself_is_clean() -> None:
    _, _, val, val_labels = blobs(4)
    found = found_by((val, val_labels, val, val_labels))
    assert found.diagnostics["copies"] == len(val)
    assert found.flagged.sum() <= 1
    assert 0.25 < found.p_values["label"].mean() < 0.8  # many are equal


def test_a_label_whose_items_are_all_flagged_is_named_with_a_bound() -> None:
    train, labels, val, val_labels = blobs(5, apart=6.0)
    wrong = np.where(labels == 2, 1, np.where(labels == 1, 2, labels))
    wrong[labels == 1], wrong[labels == 2] = 1, 1  # no item of label 2 but those planted below
    rows = np.flatnonzero(labels == 0)[:20]
    wrong[rows] = 2
    found = found_by((train[labels != 2], wrong[labels != 2], val, val_labels))
    assert set(found.diagnostics["all_flagged"]) == {2}
    assert 15 <= found.diagnostics["all_flagged"][2] <= 20


def test_weights_follow_the_kind_of_evidence() -> None:
    generator = np.random.default_rng(0)
    clean, train = generator.exponential(size=(1000, 3)), generator.exponential(size=(1000, 3))
    train[:200, 1] += 4
    tilt = fit_tilt(train, clean)
    assert tilt.weights[1] > 2 * tilt.weights[2]
    assert 0.1 < tilt.fraction < 0.4
    assert fit_tilt(generator.exponential(size=(1000, 3)), clean).fraction < 0.05


def test_fractions_by_class_do_not_blame_a_hard_class() -> None:
    generator = np.random.default_rng(1)
    labels, clean_labels = np.repeat([0, 1, 2], 200), np.repeat([0, 1, 2], 50)
    hard = np.array([0.05, 0.05, 0.3])
    faulty, clean_faulty = (
        np.clip(hard[names] + 0.05 * generator.normal(size=len(names)), 0, 1) for names in (labels, clean_labels)
    )
    even = fractions_by_class(faulty, labels, clean_faulty, clean_labels)
    assert max(even.values()) < 0.03
    faulty[:100] = 1.0
    uneven = fractions_by_class(faulty, labels, clean_faulty, clean_labels)
    assert uneven[0] > 0.4
    assert uneven[2] < 0.05


def refused(sides: Sides, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        found_by(sides, **options)
    return str(caught.value)


def test_what_cannot_be_detected_is_refused() -> None:
    train, labels, val, val_labels = blobs(6, items=30, val_items=30)
    for fdr in (0, 1, -0.1, 1.5, float("nan")):
        assert "in (0, 1)" in refused((train, labels, val, val_labels), fdr=fdr)
    scarce = (val_labels != 1) | (np.arange(30) == 1)
    assert "label 1 has one" in refused((train, labels, val[scarce], val_labels[scarce]))
    without = val_labels != 1
    assert "--unseen-label worst" in refused((train, labels, val[without], val_labels[without]))
    copied = val.copy()
    copied[val_labels == 1] = val[1]
    assert "label 1 has one" in refused((train, labels, copied, val_labels))
    spoilt = train.copy()
    spoilt[3, 2] = np.nan
    assert "training row 3 has nan in dimension 2" in refused((spoilt, labels, val, val_labels))
    assert "between 1 and" in refused((train, labels, val, val_labels), neighbours=0)
    same = np.ones_like(train)
    assert "must differ in their features" in refused((same, labels, val, val_labels))
    assert "label 0 has one" in refused((train, labels, np.ones_like(val), val_labels))

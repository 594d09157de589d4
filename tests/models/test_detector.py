"""The detector: what it finds, its false discoveries, laws, and the input that it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

import royalty
from royalty.models.base.errors import InputError
from royalty.models.judging.detection import detection
from royalty.models.valuation import detector_fits, faults
from royalty.models.valuation.calibration import own_p_values, p_values
from royalty.models.valuation.contamination import fit_tilt, fractions_by_class
from royalty.models.valuation.detector import DetectedItems
from royalty.models.valuation.detector_fits import fit_to_itself, own_folds
from royalty.models.valuation.faults import FAULTS, evidence, with_trusted

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
    assert detection(found.scores, planted).auroc > 0.99  # 2% of the items lie nearer to another centre
    flagged_faulty = found.flagged & planted
    assert flagged_faulty.sum() > 20
    assert (found.reasons.parts[flagged_faulty] == "label").mean() > 0.5
    right = blobs(0)[1]
    assert (found.reasons.suggested_labels[flagged_faulty] == right[flagged_faulty]).mean() > 0.95
    near = blobs(0)[3][found.reasons.nearest]
    assert (near[planted] == right[planted, None]).mean() > 0.9
    assert found.scores[found.flagged].max() < found.scores[~found.flagged].min()
    assert found.scores.max() <= 0


def test_training_items_help_to_judge_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    centres = 0.35 * generator.normal(size=(3, 40))  # 40 dimensions cannot be learnt from 60 clean items
    labels, val_labels = np.arange(900) % 3, np.arange(60) % 3
    train = centres[labels] + generator.normal(size=(900, 40))
    val = centres[val_labels] + generator.normal(size=(60, 40))
    sides, planted = with_wrong_labels((train, labels, val, val_labels), 200)
    helped = detection(found_by(sides).scores, planted).auroc
    monkeypatch.setattr(detector_fits, "TRUSTED", 1.0)  # no item is
    assert helped > detection(found_by(sides).scores, planted).auroc + 0.03


def test_an_item_does_not_judge_its_own_label() -> None:
    train, labels, val, val_labels = blobs(6)
    items = (np.concatenate([train, val[:30]]), np.concatenate([labels, val_labels[:30]]))
    left_out = np.arange(len(items[1])) >= len(labels)
    clean, parts = (val[30:], val_labels[30:]), np.arange(len(items[1])) % 2
    trusted, changed = ~left_out, items[1].copy()
    changed[(parts == 0) & trusted] = (changed[(parts == 0) & trusted] + 1) % 3  # of one part, all
    before, after = (
        with_trusted(evidence((items[0], given), left_out, clean), (items[0], given), left_out, clean, trusted, parts)
        for given in (items[1], changed)
    )
    np.testing.assert_array_equal(before.log_probabilities[parts == 0], after.log_probabilities[parts == 0])
    assert (before.log_probabilities[parts == 1] != after.log_probabilities[parts == 1]).any()


def test_strange_features_are_found_by_features() -> None:
    train, labels, val, val_labels = blobs(1)
    planted = np.arange(len(labels)) < 30
    train[planted] += np.array([0, 0, 0, 6.0, 0, 0])
    found = found_by((train, labels, val, val_labels))
    assert detection(found.scores, planted).auroc > 0.97
    assert detection(found.p_values["features"], planted).auroc > detection(found.p_values["label"], planted).auroc
    assert (found.reasons.parts[planted] != "label").mean() > 0.8


def chance(rate: float, trials: int) -> float:
    """A bound of three binomial deviations above a rate."""
    return rate + 3 * (rate * (1 - rate) / trials) ** 0.5


@pytest.fixture(scope="module")
def clean_results() -> list[DetectedItems]:
    """Clean sets of 300 items, compared with 150 clean items."""
    return [found_by(blobs(seed)) for seed in range(20)]


@pytest.mark.statistical
def test_p_values_of_clean_items_are_calibrated(clean_results: list[DetectedItems]) -> None:
    # The deviation of a mean rank of 300 items among 150, and of 20 such means.
    deviation = (1 / 12 * (1 / 300 + 1 / 150) / len(clean_results)) ** 0.5
    combined = [np.exp(found.scores) for found in clean_results]
    for p in ([found.p_values[kind] for found in clean_results] for kind in FAULTS):
        # The geometric mean of two uniform p-values has the mean 1/2 if they are equal, 4/9 if they are independent.
        assert 4 / 9 - 3 * deviation < np.mean(p) < 1 / 2 + 3 * deviation
    for p in [*([found.p_values[kind] for found in clean_results] for kind in FAULTS), combined]:
        for level in (0.01, 0.05, 0.1):
            error = (level * (1 - level) * (1 / 300 + 1 / 150) / len(clean_results)) ** 0.5
            assert (np.array(p) <= level).mean() < level + 3 * error


@pytest.mark.statistical
def test_labels_far_apart_have_calibrated_p_values_too() -> None:
    p = [found_by(blobs(seed, apart=8.0)).p_values["label"] for seed in range(8)]
    deviation = (1 / 12 * (1 / 300 + 1 / 150) / 8) ** 0.5
    assert 4 / 9 - 3 * deviation < np.mean(p) < 1 / 2 + 3 * deviation  # probabilities of 1 would tie, and give p = 1


@pytest.mark.statistical
def test_a_clean_set_has_flagged_items_at_most_at_the_rate(clean_results: list[DetectedItems]) -> None:
    plain = [found_by(blobs(seed), by_class=False) for seed in range(20)]
    for results in (clean_results, plain):
        assert np.mean([found.flagged.any() for found in results]) <= chance(0.1, 20)


@pytest.mark.parametrize("fdr", [0.1, pytest.param(0.2, marks=pytest.mark.statistical)])
@pytest.mark.parametrize("fault", ["labels", pytest.param("features", marks=pytest.mark.statistical)])
def test_realised_false_discoveries_are_at_most_the_rate(fault: str, fdr: float) -> None:
    clean_flagged, planted_flagged = [], []
    for seed in range(10):
        sides, planted = with_wrong_labels(blobs(seed, apart=2.5), 30)
        if fault == "features":
            sides = blobs(seed, apart=2.5)
            sides[0][planted, 3] += 5.0
        flagged = found_by(sides, fdr=fdr).flagged
        clean_flagged.append((flagged & ~planted).sum() / max(1, flagged.sum()))
        planted_flagged.append((flagged & planted).sum() / 30)
    assert np.mean(clean_flagged) <= chance(fdr, 300)  # about 30 items are flagged in each of 10 sets
    # Labels are 5.9 deviations apart, and features 8.3 off: the best possible rule finds more than 99%.
    assert np.mean(planted_flagged) > 0.9


def test_order_of_items_changes_nothing() -> None:
    (train, labels, val, val_labels), _ = with_wrong_labels(blobs(2), 20)
    moved, val_moved = (np.random.default_rng(seed).permutation(len(val)) for seed in range(2))
    train, labels = train[:150], labels[:150]
    for clean, clean_moved in (((val, val_labels), (val[val_moved], val_labels[val_moved])), ((), ())):
        first = royalty.detect_items(train, labels, *clean)
        second = royalty.detect_items(train[moved], labels[moved], *clean_moved)
        np.testing.assert_array_equal(second.scores, first.scores[moved])
        np.testing.assert_array_equal(second.flagged, first.flagged[moved])
        back = val_moved if clean else moved
        np.testing.assert_array_equal(back[second.reasons.nearest], first.reasons.nearest[moved])


def test_items_beyond_a_sample_are_judged_like_those_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large sets transport is solved with a sample; here the sample is a fifth of the items."""
    sides, planted = with_wrong_labels(blobs(12, items=1500, val_items=600), 150)
    sides[0][150:180, 4] += 5
    planted[150:180] = True
    whole = found_by(sides)
    monkeypatch.setattr(faults, "MOST_MOVED", 300)
    monkeypatch.setattr(faults, "MOST_REACHED", 240)
    sampled = found_by(sides)
    assert spearmanr(sampled.scores, whole.scores).statistic > 0.95
    assert spearmanr(sampled.p_values["within_class"], whole.p_values["within_class"]).statistic > 0.95
    assert detection(sampled.scores, planted).auroc > detection(whole.scores, planted).auroc - 0.001
    assert (sampled.flagged == whole.flagged).mean() > 0.98
    assert sampled.flagged[150:180].mean() > 0.8

    order = np.random.default_rng(0).permutation(1500)
    moved = found_by((sides[0][order], sides[1][order], *sides[2:]))
    np.testing.assert_array_equal(moved.scores, sampled.scores[order])


def test_copies_of_clean_items_count_once() -> None:
    """Copies would count as independent evidence of how clean items look, and many clean items would be flagged."""
    (train, labels, val, val_labels), _ = with_wrong_labels(blobs(3, val_items=60), 30)
    once = found_by((train, labels, val, val_labels))
    rows = np.concatenate([np.arange(60), np.random.default_rng(0).integers(0, 60, size=240)])
    copied = found_by((train, labels, val[rows], val_labels[rows]))
    np.testing.assert_array_equal(copied.scores, once.scores)
    assert copied.diagnostics["clean"] == once.diagnostics["clean"] == 60


def test_shares_of_labels_are_no_evidence() -> None:
    rates, variances = [], []
    for seed in range(8):
        train, labels, val, val_labels = blobs(seed, items=600)
        fewer = (labels != 0) | (np.arange(len(labels)) % 5 == 0)  # a fifth of a label: the others exceed validation's
        labels = labels[fewer]
        found = found_by((train[fewer], labels, val, val_labels))
        rates.append([detection(found.scores, labels == label).auroc for label in range(3)])
        sizes = [[count for y in (labels, val_labels) for count in ((y == k).sum(), (y != k).sum())] for k in range(3)]
        variances.append([sum(1 / size for size in four) / 12 for four in sizes])
    deviations = (np.mean(variances, axis=0) / 8) ** 0.5  # of mean ranks, of both sides
    assert (np.abs(np.mean(rates, axis=0) - 0.5) < 3 * deviations).all()


def test_a_set_compared_with_itself_is_clean() -> None:
    flagged = []
    for seed in range(10):
        _, _, val, val_labels = blobs(seed)
        found = found_by((val, val_labels, val, val_labels))
        assert found.diagnostics["copies"] == len(val)
        # Ranks 1 to 75 of each fold, each once: their p-values (1 + rank) / 76 have the mean 1/2 + 1/76.
        assert found.p_values["label"].mean() == pytest.approx(1 / 2 + 1 / 76, abs=0.02)
        flagged.append(found.flagged.any())
    assert np.mean(flagged) <= chance(0.1, 10)


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


def test_a_censored_tail_is_that_of_the_whole_exponential_distribution() -> None:
    scores = -np.random.default_rng(0).exponential(size=20_000)
    spoilt = np.where(scores < np.quantile(scores, 0.2), -1e6, scores)  # values that may not matter
    at = -np.array([2.0, 4.0, 6.0])
    p = p_values(at, spoilt, censored=0.2)
    # 2,000 scores give the rate of the tail, from the quantile 0.3 on, where exp(-x) = 0.3.
    np.testing.assert_allclose(np.log(p), at, atol=3 * (6 - 1.2) / 2000**0.5 + 3 * 0.7**0.5 / (0.3 * 20_000) ** 0.5)
    np.testing.assert_array_equal(own_p_values(scores[:500], 0.0), p_values(scores[:500], scores[:500]))
    assert (own_p_values(np.zeros(50), 0.2) == 1).all()


def test_p_values_of_a_set_with_faults_are_close_to_those_of_clean_items() -> None:
    generator = np.random.default_rng(1)
    for faulty in (0, 100, 190):
        small = []
        for _ in range(40):
            scores = -generator.exponential(size=1000)
            scores[:faulty] -= 15
            p = own_p_values(scores, 0.2)
            small.append([(p[faulty:] <= level).mean() for level in (0.001, 0.01, 0.1)])
            assert not faulty or (p[:faulty] < 1e-3).mean() > 0.9
        for level, rates in zip((0.001, 0.01, 0.1), np.transpose(small), strict=True):
            # Of a clean set, the lowest items are taken out too where they are more than expected by chance.
            assert rates.mean() < 1.2 * level + 3 * rates.std(ddof=1) / 40**0.5


def test_wrong_labels_are_found_without_validation() -> None:
    clean_flagged, planted_flagged = [], []
    for seed in range(3):
        (train, labels, _, _), planted = with_wrong_labels(blobs(seed, apart=2.5), 30)
        found = royalty.detect_items(train, labels)
        assert not found.calibrated
        assert detection(found.scores, planted).auroc > 0.98
        assert found.scores[found.flagged].max() < found.scores[~found.flagged].min()
        right = blobs(seed, apart=2.5)[1]
        assert (found.reasons.suggested_labels[found.flagged & planted] == right[found.flagged & planted]).all()
        assert (found.reasons.nearest != np.arange(300)[:, None]).all()
        assert (
            labels[found.reasons.nearest] == right[found.reasons.nearest]
        ).mean() > 0.99  # trimmed ones are not shown
        clean_flagged.append((found.flagged & ~planted).sum() / max(1, found.flagged.sum()))
        planted_flagged.append((found.flagged & planted).sum() / 30)
    assert np.mean(clean_flagged) <= chance(0.1, 90)
    assert np.mean(planted_flagged) > 0.8


def test_a_clean_set_has_few_flagged_items_without_validation() -> None:
    flagged = [royalty.detect_items(*blobs(seed)[:2]).flagged.mean() for seed in range(4)]
    assert np.mean(flagged) < 0.01


@pytest.mark.statistical
def test_of_a_hundred_clean_digits_few_are_flagged_without_validation() -> None:
    """At most two on average. A single division may flag more, so that the mean is over sets and divisions."""
    features, digits = load_digits(return_X_y=True)
    flagged = [
        royalty.detect_items(features[start : start + 100], digits[start : start + 100] // 4, trim=0.1, seed=seed)
        for start in range(0, 400, 100)
        for seed in range(6)
    ]
    assert np.mean([found.flagged.sum() for found in flagged]) <= 2


def test_the_trimmed_items_are_the_faulty_ones_and_each_label_and_fold_keeps_items() -> None:
    (train, labels, _, _), planted = with_wrong_labels(blobs(3, apart=3.0), 45)
    _, kept = fit_to_itself((train, labels), 0.2, True, 0, None, None)
    assert (~kept).sum() == 60
    assert (planted & kept).sum() <= 3
    few = np.concatenate([labels[:290], [7, 7]])  # a label with one item in each of two folds
    _, kept = fit_to_itself((train[:292], few), 0.49, True, 0, None, None)
    folds = own_folds((train[:292], few), 0)
    assert all(kept[(few == label) & (folds == fold)].any() for label, fold in set(zip(few, folds, strict=True)))


def test_copies_do_not_vouch_for_each_other() -> None:
    (train, labels, _, _), planted = with_wrong_labels(blobs(4, apart=3.0), 10)
    rows = np.concatenate([np.arange(300), *([np.flatnonzero(planted)] * 4)])
    folds = own_folds((train[rows], labels[rows]), 0)
    assert all(len(np.unique(folds[(train[rows] == item).all(axis=1)])) == 1 for item in train[planted])
    found = royalty.detect_items(train[rows], labels[rows])
    assert detection(found.scores, planted[rows]).auroc > 0.95


def test_what_cannot_be_detected_without_validation_is_refused() -> None:
    train, labels, val, val_labels = blobs(6, items=30, val_items=30)
    for trim in (0.5, -0.1, float("nan")):
        with pytest.raises(InputError, match=r"in \[0, 0.5\)"):
            royalty.detect_items(train, labels, trim=trim)
    with pytest.raises(InputError, match="`val_labels` is None"):
        royalty.detect_items(train, labels, val)
    with pytest.raises(InputError, match="`val_features` is None"):
        royalty.detect_items(train, labels, None, val_labels)
    with pytest.raises(InputError, match="between 1 and the number of training items, halved, 14"):
        royalty.detect_items(train, labels, neighbours=15)
    with pytest.raises(InputError, match="label 9 has one"):
        royalty.detect_items(train, np.where(np.arange(30) == 4, 9, labels))
    copied = np.where(np.arange(30)[:, None] < 2, train[0], train)
    with pytest.raises(InputError, match="label 9 has one"):
        royalty.detect_items(copied, np.where(np.arange(30) < 2, 9, labels))
    with pytest.raises(InputError, match="must differ"):
        royalty.detect_items(np.ones_like(train), labels)

"""Criteria in closed form, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from royalty.models.base.errors import InputError
from royalty.models.judging.criteria import (
    identical_attributes,
    identical_class,
    membership_test,
    noise_rank,
    rank_agreement,
    sensitivity,
)

NEIGHBOURS = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [4, 0, 1, 2]])
LABELS = np.array([7, 7, 5, 5, 7])


def test_identical_class_by_hand() -> None:
    two, four = identical_class(NEIGHBOURS, LABELS, np.array([7, 7, 7]), ks=(2, 4))
    np.testing.assert_array_equal(two.per_image, [1, 0, 1])
    assert (two.k, two.share) == (2, pytest.approx(2 / 3))
    assert two.stderr == pytest.approx(1 / 3)  # variance (1/9 + 4/9 + 1/9) / 2 = 1/3, over 3 images
    np.testing.assert_array_equal(four.per_image, [0.5, 0.5, 0.75])
    (alone,) = identical_class(NEIGHBOURS[:1], LABELS, np.array([7]), ks=(3,))
    assert alone.share == pytest.approx(2 / 3)
    assert np.isnan(alone.stderr)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), items=st.integers(100, 130), generated=st.integers(2, 6))
def test_one_attribute_of_two_classes_is_a_class_and_names_do_not_matter(seed: int, items: int, generated: int) -> None:
    generator = np.random.default_rng(seed)
    neighbours = np.stack([generator.permutation(items)[:100] for _ in range(generated)])
    labels, made = generator.integers(2, size=items), generator.integers(2, size=generated)
    shares = identical_class(neighbours, labels, made)
    assert [share.k for share in shares] == [30, 50, 100]
    as_attributes = (labels[:, None].astype(bool), made[:, None].astype(bool))
    renamed = generator.permutation(items)  # item i is called renamed[i]
    other = np.empty_like(labels)
    other[renamed] = 9 - labels
    for again in (
        identical_attributes(neighbours, *as_attributes, columns=[0], ks=(30, 50, 100)),
        identical_class(renamed[neighbours], other, 9 - made),
    ):
        for share, twin in zip(shares, again, strict=True):
            np.testing.assert_array_equal(share.per_image, twin.per_image)
            assert (share.share, share.stderr) == (twin.share, twin.stderr)


def test_combined_attributes_agree_in_all() -> None:
    items = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1]], dtype=bool)
    made = np.array([[1, 1], [1, 0], [0, 0]], dtype=bool)
    expected = {
        (0,): [1 / 2, 1 / 2, 1 / 4],
        (1,): [1 / 2, 1 / 2, 1 / 4],
        (0, 1): [1 / 4, 1 / 4, 0],
        (1, 0): [1 / 4, 1 / 4, 0],
    }
    for asked, each in expected.items():
        (found,) = identical_attributes(NEIGHBOURS, items, made, columns=asked, ks=(4,))
        np.testing.assert_array_equal(found.per_image, each)


def test_membership_by_the_formula() -> None:
    trained, held_out = np.array([5.0, 7, 9]), np.array([1.0, 2, 3, 6])
    found = membership_test(trained, held_out)
    parts = 4 / 3, (14 / 3) / 4  # variances of the means
    t = (7 - 3) / np.sqrt(sum(parts))
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    assert (found.trained, found.held_out) == (7, 3)
    assert found.t == pytest.approx(t)
    assert found.p == pytest.approx(student.sf(t, degrees))
    assert found.effect == pytest.approx(4 / np.sqrt((2 * 4 + 3 * 14 / 3) / 5))
    reverse = membership_test(held_out, trained)
    assert reverse.t == pytest.approx(-found.t)
    assert reverse.p == pytest.approx(1 - found.p)
    assert reverse.effect == pytest.approx(-found.effect)


def test_noise_rank_by_ranks() -> None:
    values = np.array([0.0, 3, 0, 1, 2])
    noisy = np.array([True, False, False, True, False])
    found = noise_rank(values, noisy)
    assert found.percentile == pytest.approx((0.5 / 4 + 2 / 4) / 2)  # the first shares ranks 0 and 1, the other has 2
    assert found.auroc == pytest.approx((2.5 + 2) / 6)
    lowest = noise_rank(np.arange(5.0), np.arange(5) == 0)
    assert (lowest.percentile, lowest.auroc) == (0, 1)
    highest = noise_rank(np.arange(5.0), np.arange(5) == 4)
    assert (highest.percentile, highest.auroc) == (1, 0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), items=st.integers(2, 40), levels=st.integers(1, 10))
def test_noise_rank_equals_counting(seed: int, items: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    values, noisy = generator.integers(levels, size=items).astype(float), generator.permutation(items) < items // 2
    below = np.array([((values < one).sum() + ((values == one).sum() - 1) / 2) / (items - 1) for one in values])
    assert noise_rank(values, noisy).percentile == pytest.approx(below[noisy].mean())
    assert noise_rank(np.exp(values), noisy) == noise_rank(values, noisy)


def test_agreement_by_hand() -> None:
    first = np.array([1.0, 2, 3, 4])
    found = rank_agreement(first, np.array([10.0, 30, 20, 40]))
    assert found.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found.kendall == pytest.approx((5 - 1) / 6)
    assert rank_agreement(first, -np.exp(first)).kendall == pytest.approx(-1)


def test_more_images_vary_less_and_all_of_them_not_at_all() -> None:
    each = np.random.default_rng(0).random(400)
    one, hundred, everything = sensitivity(each, images=(1, 100, 400), draws=200, seed=0)
    # Without replacement: variance s^2 / m times (1 - m / n).
    assert one.deviation == pytest.approx(each.std(ddof=1), rel=0.2)
    assert hundred.deviation == pytest.approx(each.std(ddof=1) / 10 * np.sqrt(0.75), rel=0.2)
    assert hundred.mean == pytest.approx(each.mean(), abs=0.01)
    assert everything.deviation == pytest.approx(0, abs=1e-12)
    assert sensitivity(each, images=(5,), seed=1) == sensitivity(each, images=(5,), seed=1)
    assert sensitivity(each, images=(5,), seed=1) != sensitivity(each, images=(5,), seed=2)


def test_bad_neighbours_and_labels_are_refused() -> None:
    made = np.array([7, 7, 7])
    for neighbours, labels, generated, ks, told in (
        (NEIGHBOURS, LABELS, made, (5,), "first 1 to 4 neighbours"),
        (NEIGHBOURS, LABELS, made, (0,), "first 1 to 4 neighbours"),
        (NEIGHBOURS, LABELS, made, (), "first 1 to 4 neighbours"),
        (NEIGHBOURS, LABELS[:4], made, (2,), "0 to 3; got 0 to 4"),
        (NEIGHBOURS - 1, LABELS, made, (2,), "got -1 to 3"),
        (NEIGHBOURS[:0], LABELS, made[:0], (2,), "at least one generated image"),
        (NEIGHBOURS / 2, LABELS, made, (2,), "float64"),
        (NEIGHBOURS, LABELS, made[:2], (2,), "each generated image has one label"),
        (NEIGHBOURS, LABELS / 2, made, (2,), "each item has one label"),
    ):
        with pytest.raises(InputError, match=told):
            identical_class(neighbours, labels, generated, ks=ks)


def test_bad_attributes_are_refused() -> None:
    items, made = np.ones((5, 2), dtype=bool), np.ones((3, 2), dtype=bool)
    for one, other, asked, told in (
        (items.astype(int), made, [0], "boolean"),
        (items, made[:, :1], [0], "with the same columns"),
        (items, made[:2], [0], "for 3 generated images"),
        (items, made, [], "at least one attribute"),
        (items, made, [2], "0 to 1; got"),
    ):
        with pytest.raises(InputError, match=told):
            identical_attributes(NEIGHBOURS, one, other, columns=asked, ks=(2,))


def test_bad_values_are_refused() -> None:
    good = np.arange(4.0)
    for trained, held_out, told in (
        (good[:1], good, "trained values have shape"),
        (good, np.array([1, np.nan]), "held-out values .* 1 not finite"),
        (np.ones(3), np.zeros(3), "values that vary"),
    ):
        with pytest.raises(InputError, match=told):
            membership_test(trained, held_out)
    for first, second, told in (
        (good, good[:3], "same items"),
        (good, np.full(4, np.inf), "finite"),
        (good, np.ones(4), "equal values only"),
        (good[:1], good[:1], "at least two"),
    ):
        with pytest.raises(InputError, match=told):
            rank_agreement(first, second)
    with pytest.raises(InputError, match="planted items and others"):
        noise_rank(good, np.zeros(4, dtype=bool))
    for images, draws, told in (((5,), 2, "1 to all of the 4"), ((0,), 2, "got 0"), ((2,), 1, "at least 2 draws")):
        with pytest.raises(InputError, match=told):
            sensitivity(good, images=images, draws=draws, seed=0)

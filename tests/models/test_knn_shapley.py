"""Shapley values of nearest neighbours: the definition, efficiency, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from royalty.models.base.errors import InputError
from royalty.models.valuation import knn_shapley
from royalty.models.valuation.knn_shapley import knn_shapley_values, nearest_first
from royalty.models.valuation.semivalues import exact_shapley

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def problem(seed: int, items: int, validation: int = 5, classes: int = 3) -> Problem:
    """Random features; validation has every label, and one that training lacks."""
    generator = np.random.default_rng(seed)
    val_labels = np.concatenate([np.arange(classes + 1), generator.integers(classes, size=validation)])
    return (
        generator.normal(size=(items, 3)),
        generator.integers(classes, size=items),
        generator.normal(size=(len(val_labels), 3)),
        val_labels,
    )


def utility(train: np.ndarray, labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray, k: int) -> float:
    """Mean share of right labels among the k nearest, straight from the definition; earlier items win ties."""
    shares = []
    for point, label in zip(val, val_labels, strict=True):
        nearest = np.argsort(np.linalg.norm(train - point, axis=1), kind="stable")[:k]
        shares.append((labels[nearest] == label).sum() / k)
    return float(np.mean(shares))


def by_definition(given_problem: Problem, k: int) -> np.ndarray:
    train, labels, val, val_labels = given_problem
    return exact_shapley(
        lambda masks: np.array([utility(train[mask], labels[mask], val, val_labels, k) for mask in masks]), len(train)
    )


@pytest.mark.parametrize(("items", "k"), [(items, k) for items in (1, 2, 5) for k in range(1, items + 1)] + [(8, 3)])
def test_equals_the_definition(items: int, k: int) -> None:
    given_problem = problem(10 * items + k, items)
    values = knn_shapley_values(*given_problem, k=k)
    np.testing.assert_allclose(values.values, by_definition(given_problem, k), atol=1e-12)
    assert values.diagnostics == {"k": k, "accuracy": pytest.approx(utility(*given_problem, k))}


def test_of_copies_the_earlier_is_nearer() -> None:
    train, labels, val, val_labels = problem(0, 6)
    train[[1, 3, 5]] = val[0] + 7  # copies of one another, and of a validation item
    val[:2] = train[1]
    labels[[1, 3, 5]] = 0, 1, 0
    for k in (1, 2, 4):
        values = knn_shapley_values(train, labels, val, val_labels, k=k).values
        np.testing.assert_allclose(values, by_definition((train, labels, val, val_labels), k), atol=1e-12)


def test_copies_of_a_point_come_first_and_in_their_order() -> None:
    points = np.random.default_rng(0).normal(size=(20, 64))
    train = np.tile(points, (5, 1))
    order = nearest_first(points, train, np.square(train).sum(axis=1))
    np.testing.assert_array_equal(order[:, :5], np.arange(20)[:, None] + 20 * np.arange(5))
    middle = nearest_first(np.zeros((1, 2)), np.array([[-1.0, 2], [0, -0.0], [0, 1]]), np.array([5.0, 0, 1]))
    np.testing.assert_array_equal(middle, [[1, 2, 0]])


def test_far_from_the_origin_items_are_still_told_apart() -> None:
    train, labels, val, val_labels = problem(0, 40)
    values = knn_shapley_values(train, labels, val, val_labels).values
    far = knn_shapley_values(train + 1e7, labels, val + 1e7, val_labels).values
    np.testing.assert_allclose(far, values, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), items=st.integers(1, 60), share=st.floats(0, 1))
def test_values_sum_to_the_utility_of_everybody_and_follow_their_items(seed: int, items: int, share: float) -> None:
    train, labels, val, val_labels = problem(seed, items)
    k = 1 + round(share * (items - 1))
    values = knn_shapley_values(train, labels, val, val_labels, k=k)
    assert values.values.sum() == pytest.approx(utility(train, labels, val, val_labels, k))
    assert values.values.sum() == pytest.approx(values.diagnostics["accuracy"])
    assert np.abs(values.values).max() <= 1 / k + 1e-12
    order = np.random.default_rng(seed).permutation(items)
    permuted = knn_shapley_values(train[order], labels[order], val[::-1], val_labels[::-1], k=k)
    np.testing.assert_allclose(permuted.values, values.values[order], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-1e4, 1e4), scale=st.floats(1e-3, 1e3))
def test_only_the_order_of_distances_matters(seed: int, shift: float, scale: float) -> None:
    train, labels, val, val_labels = problem(seed, 40)
    values = knn_shapley_values(train, labels, val, val_labels).values
    turn = ortho_group.rvs(3, random_state=seed) * scale
    moved = knn_shapley_values(train @ turn + shift, labels, val @ turn + shift, val_labels).values
    np.testing.assert_allclose(moved, values, atol=1e-12)
    renamed = knn_shapley_values(train, 9 - labels, val, 9 - val_labels).values
    np.testing.assert_allclose(renamed, values)


def test_tiles_change_nothing_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    given_problem = problem(3, 50, validation=30)
    whole = knn_shapley_values(*given_problem, k=7)
    done: list[int] = []
    monkeypatch.setattr(knn_shapley, "TILE_BYTES", 8 * 50 * 4)
    tiled = knn_shapley_values(*given_problem, k=7, progress=done.append)
    np.testing.assert_allclose(tiled.values, whole.values, atol=1e-14)
    assert tiled.diagnostics["accuracy"] == pytest.approx(whole.diagnostics["accuracy"])
    assert done == [4] * 8 + [2]
    monkeypatch.setattr(knn_shapley, "TILE_BYTES", 1)
    np.testing.assert_allclose(knn_shapley_values(*given_problem, k=7).values, whole.values, atol=1e-14)


@pytest.mark.parametrize("k", [0, -1, 7])
def test_neighbours_are_among_the_items(k: int) -> None:
    with pytest.raises(InputError, match=f"between 1 and the number of training items, 6; got {k}. Take 5$"):
        knn_shapley_values(*problem(0, 6), k=k)


def test_the_searched_k_classifies_each_validation_item_best_by_the_others() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    val = np.stack([labels + 0.9 * generator.normal(size=60), np.zeros(60)], axis=1)
    given = val[:40], labels[:40], val, labels
    rates = {k: left_out_accuracy(val, labels, k) for k in (1, 2, 3, 5, 8, 13, 21, 34)}  # up to the training items
    best = max(k for k, rate in rates.items() if rate == max(rates.values()))
    assert 1 < best < 34
    found = knn_shapley_values(*given, k="auto")
    assert found.diagnostics["k"] == best
    assert found.diagnostics["left_out_accuracy"] == pytest.approx(rates[best])
    np.testing.assert_array_equal(found.values, knn_shapley_values(*given, k=best).values)


def left_out_accuracy(val: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Straight from the definition: most of the k nearest others have the right label; a tie counts in part."""
    total = 0.0
    for row, label in enumerate(labels):
        others = np.delete(np.arange(len(val)), row)
        nearest = others[np.argsort(np.linalg.norm(val[others] - val[row], axis=1), kind="stable")[:k]]
        counts = np.bincount(labels[nearest], minlength=labels.max() + 1)
        total += (counts[label] == counts.max()) / (counts == counts.max()).sum()
    return total / len(val)


def test_k_is_searched_among_copies_and_one_item_is_refused() -> None:
    items, labels = np.array([[0.0]] * 4 + [[1.0]] * 4), np.array([0] * 4 + [1] * 4)
    assert knn_shapley_values(items, labels, items, labels, k="auto").diagnostics["k"] == 5
    with pytest.raises(InputError, match=r"at least two validation items out; got 1"):
        knn_shapley_values(items, np.zeros(8, dtype=int), items[:1], labels[:1], k="auto")
    with pytest.raises(InputError, match="`k` is a whole number"):
        knn_shapley_values(items, labels, items, labels, k="best")  # type: ignore[arg-type]


def test_the_advised_number_of_neighbours_works() -> None:
    items, labels = np.arange(3.0)[:, None], np.zeros(3, dtype=int)
    with pytest.raises(InputError, match=r"got 5. Take 3$"):
        knn_shapley_values(items, labels, items, labels, k=5)


def test_bad_items_are_refused() -> None:
    train, labels, val, val_labels = problem(0, 6)
    with pytest.raises(InputError, match="none has label 8"):
        knn_shapley_values(train, np.append(labels[1:], 8), val, val_labels)
    with pytest.raises(InputError, match="the 6 training items have none; add labels, or use LAVA"):
        knn_shapley_values(train, None, val, val_labels)  # type: ignore[arg-type]
    train[4, 1] = np.nan
    with pytest.raises(InputError, match="training row 4 has nan in dimension 1"):
        knn_shapley_values(train, labels, val, val_labels)

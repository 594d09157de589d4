"""Selection within a budget: laws that hold for all data, and what is refused."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from royalty.models.base.errors import InputError
from royalty.models.valuation.selection import SelectedItems, select_items

Sides = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def blobs(seed: int, items: int = 30, validation: int = 12, classes: int = 3) -> Sides:
    generator = np.random.default_rng(seed)
    centres = 3 * np.random.default_rng(100).normal(size=(classes, 3))
    labels, val_labels = np.arange(items) % classes, np.arange(validation) % classes
    return (
        centres[labels] + generator.normal(size=(items, 3)),
        labels,
        centres[val_labels] + generator.normal(size=(validation, 3)),
        val_labels,
    )


def without_labels(sides: Sides, budget: int, **options: object) -> SelectedItems:
    return select_items(sides[0], None, sides[2], None, budget, **options)  # type: ignore[arg-type]


def distance_of(train: np.ndarray, val: np.ndarray) -> float:
    """The least transport distance of any weighting of the items from validation, as a linear program."""
    costs = np.linalg.norm(train[:, None] - val, axis=2)
    columns = np.kron(np.ones(len(train)), np.eye(len(val)))
    return float(linprog(costs.ravel(), A_eq=columns, b_eq=np.full(len(val), 1 / len(val))).fun)


def test_the_distance_is_that_of_the_best_weights() -> None:
    train, _, val, _ = sides = blobs(0)
    found = without_labels(sides, 5)
    for k in range(1, 6):
        assert found.distances[k - 1] == pytest.approx(distance_of(train[found.rows[:k]], val))
    assert found.diagnostics["distance"] == pytest.approx(found.distances[-1])
    nearest = np.linalg.norm(train[found.rows][:, None] - val, axis=2).argmin(axis=0)
    np.testing.assert_allclose(found.weights, np.bincount(nearest, minlength=5) / len(val))


@pytest.mark.parametrize("budget", [3, 20])
def test_the_weighted_distance_is_that_of_the_weights(budget: int) -> None:
    """With several layers the weights are not the best ones, and the exact transport with them costs more."""
    train, _, val, _ = sides = blobs(0)
    found = without_labels(sides, budget)
    costs = np.linalg.norm(train[found.rows][:, None] - val, axis=2)
    sums = np.concatenate([np.kron(np.eye(budget), np.ones(12)), np.kron(np.ones(budget), np.eye(12))])
    exact = linprog(costs.ravel(), A_eq=sums, b_eq=np.concatenate([found.weights, np.full(12, 1 / 12)])).fun
    weighted = found.diagnostics["weighted_distance"]
    assert weighted == pytest.approx(exact, rel=0.1)
    assert weighted >= exact - 1e-9
    assert (weighted > 1.2 * found.diagnostics["distance"]) == (budget == 20)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 200), budget=st.integers(1, 4))
def test_the_decrease_is_at_least_the_bound_of_the_best(seed: int, budget: int) -> None:
    train, _, val, _ = sides = blobs(seed, items=10, validation=7)
    costs = np.linalg.norm(train[:, None] - val, axis=2)
    start = costs.max(axis=0).mean()
    best = min(costs[list(rows)].min(axis=0).mean() for rows in combinations(range(10), budget))
    found = without_labels(sides, budget)
    assert start - found.distances[-1] >= (1 - 1 / np.e) * (start - best) - 1e-9
    assert (np.diff(found.distances) <= 1e-12).all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 200), budget=st.integers(1, 30), labelled=st.booleans())
def test_order_does_not_matter(seed: int, budget: int, labelled: bool) -> None:
    train, labels, val, val_labels = blobs(seed)
    generator = np.random.default_rng(seed)
    moved, val_moved = generator.permutation(len(train)), generator.permutation(len(val))
    if labelled:
        first = select_items(train, labels, val, val_labels, budget)
        second = select_items(train[moved], labels[moved], val[val_moved], val_labels[val_moved], budget)
    else:
        first, second = (
            without_labels(each, budget)
            for each in ((train, labels, val, val_labels), (train[moved], labels, val[val_moved], val_labels))
        )
    np.testing.assert_array_equal(first.rows, moved[second.rows])
    np.testing.assert_array_equal(first.weights, second.weights)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 200), budget=st.integers(1, 20))
def test_copies_are_not_selected_before_each_item_is(seed: int, budget: int) -> None:
    train, _, val, _ = blobs(seed, items=20)
    copied = np.concatenate([np.arange(20), np.random.default_rng(seed).integers(0, 20, size=30)])
    once = select_items(train, None, val, None, budget)
    found = select_items(train[copied], None, val, None, budget)
    np.testing.assert_array_equal(np.sort(copied[found.rows]), np.sort(once.rows))
    assert found.diagnostics["copies"] == 0
    every = select_items(train[copied], None, val, None, 50)
    assert sorted(every.rows) == list(range(50))
    assert every.diagnostics["copies"] == 30


def test_near_copies_in_one_group_are_selected_once() -> None:
    train, labels, val, val_labels = blobs(1, items=12)
    near = np.concatenate([train, train + 1e-3 * np.random.default_rng(0).normal(size=train.shape)])
    names, groups = np.concatenate([labels, labels]), np.tile(np.arange(12), 2)
    found = select_items(near, names, val, val_labels, 12, groups=groups)
    assert sorted(groups[found.rows]) == list(range(12))
    separate = select_items(near, names, val, val_labels, 12)
    assert len(set(groups[separate.rows])) < 12  # so that the groups decide


def test_a_rare_class_gets_its_share_of_validation_and_wrong_labels_come_last() -> None:
    train, labels, val, val_labels = blobs(2, items=120, validation=30)
    kept = np.flatnonzero((labels != 2) | (np.arange(120) < 18))  # six of the last class
    wrong = kept[-20:]
    given = labels.copy()
    given[wrong] = (given[wrong] + 1) % 3
    found = select_items(train[kept], given[kept], val, val_labels, 12)
    by_class = np.bincount(given[kept][found.rows], weights=found.weights, minlength=3)
    np.testing.assert_allclose(by_class, 1 / 3, atol=0.1)
    assert not np.isin(kept[found.rows], wrong).any()


def test_other_methods_take_the_most_valuable_and_any() -> None:
    from royalty.models.valuation.lava import lava_values

    train, labels, val, val_labels = blobs(3)
    values = lava_values(train, labels, val, val_labels).values
    best = select_items(train, labels, val, val_labels, 7, method="value")
    assert set(best.rows) == set(np.argsort(-values)[:7])
    drawn = [select_items(train, labels, val, val_labels, 7, method="random", seed=seed).rows for seed in (0, 0, 1)]
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()
    chosen = select_items(train, labels, val, val_labels, 7)
    assert chosen.diagnostics["distance"] < best.diagnostics["distance"]
    assert [best.weights.sum(), chosen.weights.sum()] == pytest.approx([1, 1])


def test_refusals() -> None:
    train, labels, val, val_labels = sides = blobs(0)
    for budget in (0, 31):
        with pytest.raises(InputError, match=f"from 1 to all 30; got {budget}"):
            without_labels(sides, budget)
    with pytest.raises(InputError, match="`budget` is a whole number"):
        without_labels(sides, 2.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`method` is one of"):
        without_labels(sides, 2, method="best")
    with pytest.raises(InputError, match="`groups` has one number"):
        without_labels(sides, 2, groups=[1, 2])
    with pytest.raises(InputError, match="validation"):
        select_items(train, labels + 1, val, val_labels, 2)
    for names in (labels[:-1], labels[:, None]):
        with pytest.raises(InputError, match="one label, an integer; got 30 training items"):
            select_items(train, names, val, val_labels, 2)
    with pytest.raises(InputError, match="`device` is a device of torch"):
        without_labels(sides, 2, device="nope")
    broken = train.copy()
    broken[4, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        select_items(broken, labels, val, val_labels, 2)

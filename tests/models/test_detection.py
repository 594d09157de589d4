"""Detection rates and AUROC: closed forms, what a draw of tied items gives on average, and scikit-learn's AUROC."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from royalty.models.base.errors import InputError
from royalty.models.judging.detection import detection, discoveries

ITEMS = 100


def marks(planted: int, items: int = ITEMS) -> np.ndarray:
    return np.arange(items) < planted


def line(items: int = ITEMS) -> np.ndarray:
    return np.arange(1, items + 1) / items


@pytest.mark.parametrize("planted", [1, 10, 20, 50, 99])
def test_perfect_order_finds_all_that_is_looked_at(planted: int) -> None:
    found = detection(np.arange(ITEMS, dtype=float), marks(planted))
    assert found.auroc == 1
    np.testing.assert_allclose(found.rates, np.minimum(line() * ITEMS / planted, 1))
    assert found.first_fifth == pytest.approx(min(20 / planted, 1))


@pytest.mark.parametrize("planted", [1, 10, 50, 90])
def test_reversed_order_finds_them_last(planted: int) -> None:
    found = detection(-np.arange(ITEMS, dtype=float), marks(planted))
    assert found.auroc == 0
    clean = ITEMS - planted
    np.testing.assert_allclose(found.rates, np.maximum(line() * ITEMS - clean, 0) / planted)
    assert found.first_fifth == pytest.approx(max(20 - clean, 0) / planted)


def test_random_order_is_chance() -> None:
    items, planted = 20_000, 5000
    found = detection(np.random.default_rng(0).normal(size=items), marks(planted, items))
    # Deviation of the Mann-Whitney statistic, and of a draw without replacement; 4 of them.
    clean = items - planted
    assert found.auroc == pytest.approx(0.5, abs=4 * ((items + 1) / (12 * planted * clean)) ** 0.5)
    np.testing.assert_allclose(found.rates, line(items), atol=4 * (0.25 * clean / items / planted) ** 0.5)
    assert found.first_fifth == found.rates[items // 5 - 1]


@pytest.mark.parametrize("value", [0.0, -3.5, np.inf])
@pytest.mark.parametrize("items", [4, 99, 100])
def test_constant_values_are_a_straight_line(value: float, items: int) -> None:
    found = detection(np.full(items, value), marks(3, items))
    assert found.auroc == 0.5
    np.testing.assert_allclose(found.rates, line(items))
    assert found.first_fifth == pytest.approx(0.2)


def test_ties_get_what_a_draw_of_them_gives_on_average() -> None:
    generator = np.random.default_rng(1)
    values = generator.integers(4, size=30).astype(float)
    planted = generator.random(30) < 0.4
    found = detection(values, planted)
    draws = [detection(values + 0.5 * generator.random(30), planted) for _ in range(4000)]
    np.testing.assert_allclose(found.rates, np.mean([draw.rates for draw in draws], axis=0), atol=0.01)
    assert found.auroc == pytest.approx(np.mean([draw.auroc for draw in draws]), abs=0.01)
    assert found.first_fifth == pytest.approx(np.mean([draw.first_fifth for draw in draws]), abs=0.01)


def test_two_levels_by_hand() -> None:
    found = detection(np.array([0.0, 0, 0, 1, 1]), np.array([True, False, True, True, False]))
    np.testing.assert_allclose(found.rates, np.array([2 / 3, 4 / 3, 2, 2.5, 3]) / 3)
    # Of 3 x 2 pairs: two tie below, two are in order, and of the planted one above, one is wrong and one ties.
    assert found.auroc == pytest.approx((2 * 0.5 + 2 + 0.5) / 6)
    assert found.first_fifth == pytest.approx(2 / 9)


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60))
def test_agrees_with_scikit_learn(items: list[tuple[int, bool]]) -> None:
    values, planted = (np.array(column) for column in zip(*items, strict=True))
    if planted.all() or not planted.any():
        with pytest.raises(InputError, match="planted"):
            detection(values, planted)
        return
    found = detection(values.astype(float), planted)
    assert found.auroc == pytest.approx(roc_auc_score(planted, -values), abs=1e-12)
    assert detection(-values.astype(float), planted).auroc == pytest.approx(1 - found.auroc, abs=1e-12)
    assert found.rates[-1] == pytest.approx(1)
    assert (np.diff(found.rates) >= -1e-12).all()


def test_order_alone_counts() -> None:
    generator = np.random.default_rng(2)
    values, planted = generator.normal(size=ITEMS), generator.random(ITEMS) < 0.3
    order = generator.permutation(ITEMS)
    one, other = detection(values, planted), detection(np.exp(3 * values)[order], planted[order])
    np.testing.assert_array_equal(one.rates, other.rates)
    assert (one.auroc, one.first_fifth) == (other.auroc, other.first_fifth)


@pytest.mark.parametrize(
    ("values", "planted", "says"),
    [
        (np.zeros(3), np.zeros(2, dtype=bool), "one value"),
        (np.zeros((3, 1)), np.zeros((3, 1), dtype=bool), "one value"),
        (np.zeros(3), np.array([0, 1, 0]), "int64 marks"),
        (np.array([0, np.nan, 1]), np.array([True, False, True]), "item 1 has nan"),
        (np.zeros(3), np.zeros(3, dtype=bool), "0 of 3"),
        (np.zeros(3), np.ones(3, dtype=bool), "3 of 3"),
    ],
)
def test_what_has_no_answer_is_refused(values: np.ndarray, planted: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        detection(values, planted)


def test_planted_items_among_the_first_are_counted() -> None:
    planted = marks(30)
    found = detection(np.arange(ITEMS, dtype=float), planted)
    assert [found.among_first(count) for count in (10, 30, 50)] == [10, 30, 30]
    assert found.among_first(ITEMS) is None, "all items are looked at"
    assert detection(np.zeros(ITEMS), planted).among_first(50) == pytest.approx(15)


def test_discoveries_by_hand() -> None:
    planted = np.array([True, True, True, True, False, False])
    found = discoveries(np.array([True, True, True, False, True, False]), planted)
    assert (found.flagged, found.fdp, found.power) == (4, 0.25, 0.75)
    nothing = discoveries(np.zeros(6, dtype=bool), planted)
    assert (nothing.flagged, nothing.fdp, nothing.power) == (0, 0.0, 0.0)
    everything = discoveries(np.ones(6, dtype=bool), planted)
    assert (everything.flagged, everything.fdp, everything.power) == (6, pytest.approx(1 / 3), 1.0)


def test_discoveries_without_an_answer_are_refused() -> None:
    with pytest.raises(InputError, match="none of 3 is planted"):
        discoveries(np.ones(3, dtype=bool), np.zeros(3, dtype=bool))
    with pytest.raises(InputError, match="one mark"):
        discoveries(np.ones(3), np.zeros(3, dtype=bool))

"""How far values predict changes of the distance: exactly on a line, to first order elsewhere, never too much."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation.lava import lava_values
from royalty.models.valuation.perturbation import Perturbation, perturbed_distances


def blobs(seed: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(items) % 3
    return 2.0 * labels[:, None] + np.random.default_rng(seed).normal(size=(items, 2)), labels


TRAIN, VAL = blobs(0, 30), blobs(1, 24)


def test_on_a_line_to_one_side_values_predict_every_change() -> None:
    """The distance is mean less mean, and so linear in the masses."""
    train, val = np.random.default_rng(0).random((9, 1)), np.random.default_rng(1).random((6, 1)) + 2
    items, fractions = np.array([0, 4, 7]), (-1.0, -0.3, 0.5, 2.0)
    found = perturbed_distances(train, None, val, None, items, fractions=fractions)
    of_others = (train.sum() - train[items, 0]) / 8
    moved = np.array(fractions) / 9
    expected = (of_others - train[items, 0])[:, None] * moved
    np.testing.assert_allclose(found.actual, expected, atol=1e-7)
    np.testing.assert_allclose(found.predicted, expected, atol=1e-7)
    assert found.radius.tolist() == [2.0] * 3


def test_actual_changes_are_those_of_transport_solved_again() -> None:
    """By Sinkhorn's algorithm, iterated plainly, and values are the predictions."""
    items, fractions = np.array([3, 11]), (-1.0, 0.4)
    found = perturbed_distances(*TRAIN, *VAL, items, fractions=fractions, epsilon=0.5)
    values = lava_values(*TRAIN, *VAL, epsilon=0.5, tolerance=1e-8)
    np.testing.assert_allclose(found.predicted, -values.values[items, None] * np.array(fractions) / 30, atol=1e-7)
    labels = np.array(values.diagnostics["label_distances"])[TRAIN[1]][:, VAL[1]]
    costs = np.linalg.norm(TRAIN[0][:, None] - VAL[0], axis=2) + labels
    epsilon = values.diagnostics["epsilon"]

    def distance(masses: np.ndarray) -> float:
        g = np.zeros(24)
        for _ in range(20_000):
            f = -epsilon * np.log(np.exp((g - costs) / epsilon).mean(axis=1))
            g = -epsilon * np.log(masses @ np.exp((f[:, None] - costs) / epsilon))
        return float(masses @ f + g.mean())

    whole = distance(np.full(30, 1 / 30))
    for row, item in enumerate(items):
        for column, fraction in enumerate(fractions):
            masses = np.full(30, (1 - (1 + fraction) / 30) / 29)
            masses[item] = (1 + fraction) / 30
            assert found.actual[row, column] == pytest.approx(distance(masses) - whole, abs=1e-7)


def test_predictions_are_below_and_the_error_falls_with_the_change() -> None:
    """The distance is convex in the masses; what a first order leaves is of the second."""
    found = perturbed_distances(
        *TRAIN, *VAL, np.arange(0, 30, 5), fractions=(-0.2, -0.1, -0.05, 0.05, 0.1, 0.2), epsilon=1.0
    )
    missing = found.actual - found.predicted
    assert (missing > 0).all()
    np.testing.assert_allclose(missing[:, 1] / missing[:, 2], 4, rtol=0.1)
    np.testing.assert_allclose(missing[:, 4] / missing[:, 3], 4, rtol=0.1)
    assert (missing[:, 0] > missing[:, 1]).all()
    assert (missing[:, 5] > missing[:, 4]).all()


def test_the_radius_is_where_the_error_first_exceeds_a_tenth() -> None:
    fractions = np.array([-0.5, -0.2, -0.1, 0.1, 0.2, 0.5])
    actual = np.ones((3, 6))
    predicted = 1 - np.array([[0.05] * 6, [0.05, 0.2, 0, 0, 0, 0.05], [0, 0, 0, 0.3, 0, 0]])
    assert Perturbation(fractions, predicted, actual).radius.tolist() == [0.5, 0.1, 0.0]


@pytest.mark.parametrize(
    ("items", "fractions", "message"),
    [
        ([0], (0.0, 0.1), "at least -1 and not 0; got"),
        ([0], (-1.5,), "at least -1 and not 0; got"),
        ([0], (29.0,), "leaves none for the others"),
        ([30], (0.1,), "positions of training items, 0 to 29; got 30 to 30"),
    ],
)
def test_impossible_changes_are_refused(items: list[int], fractions: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        perturbed_distances(*TRAIN, *VAL, np.array(items), fractions=fractions)


def test_a_single_item_has_no_others_to_take_mass_from() -> None:
    with pytest.raises(InputError, match=r"there are 1\. Give at least 2"):
        perturbed_distances(TRAIN[0][:1], None, VAL[0], None, np.array([0]))

"""LAVA values: closed forms, laws that hold for all data, derivatives by differences, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.valuation import costs, ground
from royalty.models.valuation.ground import Options, chunks, survey
from royalty.models.valuation.items import ItemValues, with_lowest
from royalty.models.valuation.lava import calibrated, exact_difference, lava_values
from royalty.models.valuation.transport import NotConverged, solve_transport

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

TIGHT = {"tolerance": 1e-9, "max_iterations": 5000}
LAWS = {**TIGHT, "epsilon": 0.5}
"""A few items far apart take thousands of passes to this accuracy where epsilon is small."""


def blobs(
    seed: int = 0, items: int = 24, validation: int = 18, classes: int = 3, spread: float = 0.6, apart: float = 1.5
) -> Problem:
    """Items around one centre a class, of both sides the same centres."""
    generator = np.random.default_rng(seed)
    centres = apart * np.random.default_rng(100).normal(size=(classes, 4))
    labels, val_labels = np.arange(items) % classes, np.arange(validation) % classes
    return (
        centres[labels] + spread * generator.normal(size=(items, 4)),
        labels,
        centres[val_labels] + spread * generator.normal(size=(validation, 4)),
        val_labels,
    )


def without_labels(problem: Problem) -> tuple[np.ndarray, None, np.ndarray, None]:
    return problem[0], None, problem[2], None


problems = st.builds(
    blobs, st.integers(0, 50), st.integers(6, 20), st.integers(6, 16), st.integers(1, 3), st.floats(0.2, 2.0)
)
few = settings(max_examples=8, deadline=None)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 2.0])
def test_on_a_line_to_one_side_of_validation_the_value_is_the_position(epsilon: float) -> None:
    generator = np.random.default_rng(0)
    train, val = generator.random((15, 1)), generator.random((10, 1)) + 2
    found = lava_values(train, None, val, None, epsilon=epsilon, **TIGHT)
    np.testing.assert_allclose(found.values, (train[:, 0] - train.mean()) * 15 / 14, atol=1e-7)
    assert found.diagnostics["distance"] == pytest.approx(val.mean() - train.mean())


@pytest.mark.parametrize("dimensions", [1, 3])
def test_a_set_moved_by_t_comes_to_distance_t(dimensions: int) -> None:
    points = np.random.default_rng(0).normal(size=(30, dimensions))
    moved = points + 0.5 / np.sqrt(dimensions)
    found = [
        lava_values(points, None, moved, None, epsilon=epsilon, tolerance=1e-4, max_iterations=5000)
        for epsilon in (0.3, 0.05, 0.004)
    ]
    reached = [values.diagnostics["distance"] for values in found]
    assert reached == sorted(reached, reverse=True)
    assert reached[-1] == pytest.approx(0.5, rel=0.01)


def test_identical_sets_are_as_far_apart_as_entropy_keeps_them() -> None:
    points, labels, _, _ = blobs(apart=0.5)
    found = lava_values(points, labels, points, labels, **LAWS).diagnostics
    between = np.array(found["label_distances"])
    np.testing.assert_allclose(np.diag(between), 0, atol=1e-7)
    np.testing.assert_allclose(between, between.T, atol=1e-7)
    assert (between[~np.eye(3, dtype=bool)] > 0.01).all()
    cost = ot.dist(points, points, metric="euclidean") + between[labels][:, labels]
    weights = np.full(24, 1 / 24)
    plan = ot.bregman.sinkhorn_log(weights, weights, cost, found["epsilon"], numItermax=100_000, stopThr=1e-12)
    assert found["distance"] == pytest.approx((plan * cost).sum(), abs=1e-7)
    close = lava_values(points, labels, points, labels, epsilon=0.003, tolerance=1e-4, max_iterations=5000)
    assert close.diagnostics["distance"] < 0.1 * found["distance"]


@pytest.mark.parametrize(("feature_weight", "label_weight"), [(1.0, 1.0), (0.5, 2.0), (1.0, 0.0)])
def test_labels_of_one_point_each_have_closed_forms(feature_weight: float, label_weight: float) -> None:
    points, labels = np.array([[0.0, 0], [3, 4]]), np.arange(20) % 2
    found = lava_values(
        points[labels],
        labels,
        points[labels[:6]],
        labels[:6],
        feature_weight=feature_weight,
        label_weight=label_weight,
        epsilon=0.5,
        **TIGHT,
    ).diagnostics
    between = 5.0 if label_weight else 0.0
    np.testing.assert_allclose(found["label_distances"], [[0, between], [between, 0]], atol=1e-6)
    apart = 5 * (feature_weight + label_weight)
    assert found["scale"] == pytest.approx(apart / 2)
    assert found["epsilon"] == pytest.approx(0.5 * found["scale"])
    assert found["distance"] == pytest.approx(apart / (1 + np.exp(apart / found["epsilon"])))


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_values_are_minus_the_calibrated_potentials_of_a_peer(weight: float) -> None:
    train, labels, val, val_labels = blobs(1, apart=0.5)  # far apart, a class leaves the others' potentials open
    found = lava_values(train, labels, val, val_labels, label_weight=2.0, feature_weight=weight, **LAWS)
    between = np.array(found.diagnostics["label_distances"])
    cost = weight * ot.dist(train, val, metric="euclidean") + 2.0 * between[labels][:, val_labels]
    epsilon = found.diagnostics["epsilon"]
    assert epsilon == pytest.approx(0.5 * cost.std())
    _, log = ot.bregman.sinkhorn_log(
        np.full(24, 1 / 24), np.full(18, 1 / 18), cost, epsilon, numItermax=100_000, stopThr=1e-12, log=True
    )
    potential = epsilon * log["log_u"]
    expected = [np.delete(potential, item).mean() - potential[item] for item in range(24)]
    np.testing.assert_allclose(found.values, expected, atol=1e-6)


def test_label_distances_are_debiased_transport_of_features() -> None:
    train, labels, val, val_labels = blobs(2)
    found = lava_values(train, labels, val, val_labels, feature_weight=0.5, **LAWS).diagnostics
    epsilon = 0.5 * ot.dist(train, val, metric="euclidean").std()

    def entropic(first: np.ndarray, second: np.ndarray) -> float:
        cost = ot.dist(first, second, metric="euclidean")
        a, b = np.full(len(first), 1 / len(first)), np.full(len(second), 1 / len(second))
        plan = ot.bregman.sinkhorn_log(a, b, cost, epsilon, numItermax=100_000, stopThr=1e-12)
        return float((plan * cost).sum() + epsilon * (plan * np.log(plan / np.outer(a, b))).sum())

    for label in range(3):
        for other in range(3):
            ours, theirs = train[labels == label], val[val_labels == other]
            expected = entropic(ours, theirs) - (entropic(ours, ours) + entropic(theirs, theirs)) / 2
            assert found["label_distances"][label][other] == pytest.approx(expected, abs=1e-6)


def test_values_are_derivatives_of_the_distance() -> None:
    train, labels, val, val_labels = blobs(3, items=8)
    options = Options(1.0, 1.0, 0.5, 1e-11, 5000)
    common = survey(chunks(train, labels), (val, val_labels), options)

    def distance(item: int, mass: float, side: int) -> float:
        """Dual value with this mass moved to an item of one side from all others."""
        weights = [np.full(8, 1 / 8), np.full(18, 1 / 18)]
        weights[side] -= mass / (len(weights[side]) - 1)
        weights[side][item] = 1 / len(weights[side]) + mass
        return solve_transport(
            common.cost((train, labels), (val, val_labels)),
            *weights,
            epsilon=common.epsilon,
            tolerance=1e-11,
            max_iterations=5000,
        ).dual

    found = lava_values(train, labels, val, val_labels, epsilon=0.5, tolerance=1e-11, max_iterations=5000)
    for side, values in enumerate((found.values, found.val_values)):
        differences = [(distance(item, 1e-4, side) - distance(item, -1e-4, side)) / 2e-4 for item in range(len(values))]
        np.testing.assert_allclose(values, -np.array(differences), atol=1e-5)


@few
@given(problems)
def test_values_of_validation_are_those_of_training_with_the_sides_exchanged(problem: Problem) -> None:
    train, labels, val, val_labels = problem
    found, exchanged = lava_values(*problem, **LAWS), lava_values(val, val_labels, train, labels, **LAWS)
    np.testing.assert_allclose(found.val_values, exchanged.values, atol=1e-5)
    assert found.val_values.sum() == pytest.approx(0, abs=1e-9)


def test_a_validation_item_that_training_lacks_has_the_lowest_value() -> None:
    train, val = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [9.0], [2.0]])
    assert lava_values(train, None, val, None).val_values.argmin() == 2


def test_one_item_is_worth_nothing_either_way() -> None:
    np.testing.assert_array_equal(calibrated(np.array([3.0])), [0.0])
    np.testing.assert_allclose(calibrated(np.array([1.0, 2.0, 6.0])), [-3, -1.5, 4.5])


@few
@given(problems, st.integers(0, 100))
def test_permuted_items_have_permuted_values_that_sum_to_zero(problem: Problem, seed: int) -> None:
    train, labels, val, val_labels = problem
    generator = np.random.default_rng(seed)
    order, val_order = generator.permutation(len(train)), generator.permutation(len(val))
    values = lava_values(*problem, **LAWS).values
    permuted = lava_values(train[order], labels[order], val[val_order], val_labels[val_order], **LAWS).values
    np.testing.assert_allclose(permuted, values[order], atol=1e-5)
    assert values.sum() == pytest.approx(0, abs=1e-9)


@few
@given(problems, st.floats(-100, 100), st.floats(0.01, 100))
def test_moved_and_scaled_features_scale_values(problem: Problem, by: float, factor: float) -> None:
    train, labels, val, val_labels = problem
    found = lava_values(*problem, **LAWS)
    changed = lava_values(factor * (train + by), labels, factor * (val + by), val_labels, **LAWS)
    np.testing.assert_allclose(changed.values / factor, found.values, atol=1e-4)
    for name in ("distance", "scale", "epsilon"):
        assert changed.diagnostics[name] / factor == pytest.approx(found.diagnostics[name], rel=1e-5)


@few
@given(problems, st.integers(2, 3))
def test_a_repeated_training_set_is_as_far_away(problem: Problem, times: int) -> None:
    train, labels, val, val_labels = problem
    found = lava_values(*problem, **LAWS)
    repeated = lava_values(np.tile(train, (times, 1)), np.tile(labels, times), val, val_labels, **LAWS)
    assert repeated.diagnostics["distance"] == pytest.approx(found.diagnostics["distance"], abs=1e-5)
    n = len(train)
    factor = (times * n / (times * n - 1)) / (n / (n - 1))
    np.testing.assert_allclose(repeated.values, np.tile(found.values * factor, times), atol=1e-5)


@few
@given(problems, st.permutations([-7, 0, 40_000]))
def test_names_of_labels_say_nothing(problem: Problem, names: list[int]) -> None:
    train, labels, val, val_labels = problem
    renamed = lava_values(train, np.array(names)[labels], val, np.array(names)[val_labels], **LAWS).values
    np.testing.assert_allclose(renamed, lava_values(*problem, **LAWS).values, atol=1e-5)


def test_without_labels_is_with_labels_of_no_weight() -> None:
    problem = blobs()
    off = lava_values(*without_labels(problem), **LAWS)
    unweighted = lava_values(*problem, label_weight=0.0, **LAWS)
    np.testing.assert_allclose(off.values, unweighted.values, atol=1e-5)
    assert off.diagnostics["labels"] == "off: items without labels"
    assert unweighted.diagnostics["labels"] == "compared"
    assert np.abs(lava_values(*problem, **LAWS).values - off.values).max() > 0.01


def test_an_outlier_and_a_mislabelled_item_are_worth_least() -> None:
    train, labels, val, val_labels = blobs(0, items=60, validation=30, apart=3)
    train, labels = train.astype(np.float32), labels.copy()
    train[7] += 20
    labels[11] = (labels[11] + 1) % 3
    values = lava_values(train, labels, val.astype(np.float32), val_labels).values
    assert set(np.argsort(values)[:2]) == {7, 11}
    by_features = lava_values(train, None, val.astype(np.float32), None).values
    assert np.argmin(by_features) == 7
    assert 11 not in np.argsort(by_features)[:2]


def test_a_sample_of_each_label_gives_close_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = blobs(0, items=600, validation=300)
    every = np.array(lava_values(*problem).diagnostics["label_distances"])
    solved: list[tuple[int, int]] = []

    def solve(cost, *weights, **options):
        solved.append(cost.shape)
        return solve_transport(cost, *weights, **options)

    monkeypatch.setattr(ground, "CLASS_SAMPLE", 60)
    monkeypatch.setattr(ground, "CHUNK", 100)
    monkeypatch.setattr(ground, "solve_transport", solve)
    sampled = np.array(lava_values(*problem).diagnostics["label_distances"])
    assert set(solved) == {(60, 60)}
    np.testing.assert_allclose(sampled, every, atol=0.1 * every.max())
    assert np.abs(sampled - every).max() > 0


def test_order_and_copies_of_many_items_change_no_sample() -> None:
    train, labels, val, val_labels = blobs(0, items=1400, validation=1200)
    moved, val_moved = (np.random.default_rng(1).permutation(len(each)) for each in (labels, val_labels))
    known = lava_values(train, labels, val, val_labels)
    found = lava_values(train[moved], labels[moved], val[val_moved], val_labels[val_moved])
    np.testing.assert_allclose(found.values, known.values[moved], atol=1e-9 * np.ptp(known.values))
    copied = lava_values(np.repeat(train, 2, axis=0), np.repeat(labels, 2), val, val_labels)
    for other in (found, copied):
        assert other.diagnostics["epsilon"] == pytest.approx(known.diagnostics["epsilon"], rel=1e-9)


def test_a_label_of_one_item_on_each_side() -> None:
    train, labels, val, val_labels = blobs()
    labels, val_labels = labels.copy(), val_labels.copy()
    labels[3] = val_labels[5] = 9
    found = lava_values(train, labels, val, val_labels, **TIGHT)
    assert np.isfinite(found.values).all()
    assert found.diagnostics["label_distances"][3][3] == pytest.approx(np.linalg.norm(train[3] - val[5]))


def test_a_validation_label_that_training_lacks_is_no_obstacle() -> None:
    train, labels, val, val_labels = blobs()
    kept = labels != 1
    found = lava_values(train[kept], labels[kept], val, val_labels, **TIGHT)
    assert found.values.shape == (16,)
    np.testing.assert_array_equal(found.diagnostics["label_distances"][1], 0)


def test_parts_and_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = blobs()
    whole = lava_values(*problem, **TIGHT)
    monkeypatch.setattr(ground, "CHUNK", 5)
    monkeypatch.setattr(costs, "KEPT", 1)
    monkeypatch.setattr(costs, "TILE", 100)
    parts = lava_values(*problem, **TIGHT)
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)
    assert parts.diagnostics["scale"] == pytest.approx(whole.diagnostics["scale"])


def test_a_memory_map_is_an_array(tmp_path: Path) -> None:
    train, labels, val, val_labels = blobs()
    np.save(tmp_path / "train.npy", train.astype(np.float32))
    np.save(tmp_path / "val.npy", val.astype(np.float32))
    maps = [np.load(tmp_path / f"{side}.npy", mmap_mode="r") for side in ("train", "val")]
    mapped = lava_values(maps[0], labels, maps[1], val_labels)
    arrays = lava_values(train.astype(np.float32), labels, val.astype(np.float32), val_labels)
    np.testing.assert_array_equal(mapped.values, arrays.values)
    assert mapped.diagnostics == arrays.diagnostics


def test_passes_are_counted_and_errors_stated() -> None:
    passes: list[int] = []
    found = lava_values(*blobs(), tolerance=1e-5, progress=passes.append).diagnostics
    assert passes == [1] * found["iterations"]
    assert 0 < found["marginal_error"] <= 1e-5
    with pytest.raises(NotConverged, match="at most 1e-09; after 4 passes"):
        lava_values(*blobs(), label_weight=0.0, tolerance=1e-9, max_iterations=4)


# Exact transport.


@pytest.mark.parametrize("labelled", [True, False])
def test_exact_differences_are_those_of_exact_potentials(labelled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = blobs(4, items=48, validation=12, spread=1.5)
    train, labels, val, val_labels = problem
    given = problem if labelled else without_labels(problem)
    options = {"epsilon": 0.01, "tolerance": 1e-4, "max_iterations": 3000}
    between = np.array(lava_values(*given, **options).diagnostics["label_distances"])
    cost = ot.dist(train, val, metric="euclidean") + (between[labels][:, val_labels] if labelled else 0)
    plan, log = ot.emd(np.full(48, 1 / 48), np.full(12, 1 / 12), cost, log=True)
    shares = 48 * plan
    first, second = np.triu_indices(48, 1)
    found = exact_difference(*given, first, second, least_shared=0.5, **options)

    compared = ~np.isnan(found.difference)
    np.testing.assert_array_equal(compared, found.shared >= 0.5)
    # Four training items go to each validation item, so that few pairs share one, and the plan says which.
    together = (shares[first] * shares[second]).max(axis=1) > 0.5
    assert 20 < compared.sum() < 100
    assert (together[compared]).mean() > 0.9
    sure = compared & together
    values = calibrated(-log["u"])
    np.testing.assert_allclose(found.difference[sure], (values[first] - values[second])[sure], atol=1e-6)
    np.testing.assert_array_equal(found.target[sure], shares[first[sure]].argmax(axis=1))
    monkeypatch.setattr(costs, "KEPT", 1)
    monkeypatch.setattr(costs, "TILE", 12)
    tiled = exact_difference(*given, first[sure], second[sure], **options)
    np.testing.assert_allclose(tiled.difference, found.difference[sure], atol=1e-6)


def test_differences_with_entropy_have_the_corrected_term_and_are_slopes_of_the_regularized_distance() -> None:
    train, _, val, _ = blobs(4, items=20, validation=8, spread=1.5)
    result = lava_values(train, None, val, None, epsilon=0.2, tolerance=1e-6)
    epsilon, cost = result.diagnostics["epsilon"], ot.dist(train, val, metric="euclidean")
    b = np.full(8, 1 / 8)

    def solve(a: np.ndarray) -> tuple[float, np.ndarray]:
        plan = ot.sinkhorn(a, b, cost, epsilon, method="sinkhorn_log", numItermax=20_000, stopThr=1e-13)
        return float((plan * cost).sum() + epsilon * (plan * np.log(plan / np.outer(a, b))).sum()), plan

    _, plan = solve(np.full(20, 1 / 20))
    difference, step = result.values[3] - result.values[11], 1e-4
    corrected = -(20 / 19) * (cost[3] - cost[11] + epsilon * (np.log(plan[3]) - np.log(plan[11])))  # (targets,)
    np.testing.assert_allclose(corrected, difference, atol=1e-4)
    printed = -(20 / 19) * (cost[3] - cost[11] + epsilon * (1 / plan[11] - 1 / plan[3]))
    assert (np.abs(printed - difference) > 0.1).all()
    moved = np.zeros(20)
    moved[[3, 11]] = step, -step
    slope = (solve(1 / 20 + moved)[0] - solve(1 / 20 - moved)[0]) / (2 * step)
    assert -(20 / 19) * slope == pytest.approx(difference, abs=1e-4)


def test_items_of_different_regions_have_no_exact_difference() -> None:
    train, val = np.array([[0.0], [0.1], [10], [10.1]]), np.array([[0.2], [10.2]])
    found = exact_difference(train, None, val, None, np.array([0, 0, 3]), np.array([1, 2, 2]))
    np.testing.assert_allclose(found.difference, [-0.1 * 4 / 3, np.nan, 0.1 * 4 / 3], atol=1e-9)
    np.testing.assert_allclose(found.shared, [1, 0, 1], atol=1e-3)
    np.testing.assert_array_equal(found.target[[0, 2]], [0, 1])


@pytest.mark.parametrize("position", [-1, 24])
def test_exact_differences_of_items_that_are_not_there_are_refused(position: int) -> None:
    with pytest.raises(InputError, match=rf"`second` holds positions .* 0 to 23; got .*{position}"):
        exact_difference(*blobs(), np.array([0, 1]), np.array([2, position]))


# Refusals.


def changed(**replaced) -> dict:
    names = ("train_features", "train_labels", "val_features", "val_labels")
    return {**dict(zip(names, blobs(), strict=True)), **replaced}


def with_number(number: float, row: int, column: int, side: int = 0) -> np.ndarray:
    features = blobs()[side].copy()
    features[row, column] = number
    return features


@pytest.mark.parametrize("feature_kind", [np.float32, np.float64])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_by_row(
    number: float, feature_kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = changed(train_features=with_number(number, 17, 2).astype(feature_kind))
    expected = f"training row 17 has {number} in dimension 2"
    for chunk in (65_536, 10):  # in the first part, and in the second
        monkeypatch.setattr(ground, "CHUNK", chunk)
        with pytest.raises(InputError, match=expected):
            lava_values(**problem)
    with pytest.raises(InputError, match=f"validation row 3 has {number} in dimension 1"):
        lava_values(**changed(val_features=with_number(number, 3, 1, side=2)))
    with pytest.raises(InputError, match=expected):
        check_labelled(**problem)


def test_numbers_whose_squares_are_not_finite_are_refused_by_row() -> None:
    large = with_number(-1e25, 17, 2)
    with pytest.raises(InputError, match="must be finite in float32; training row 17 has -1e"):
        lava_values(**changed(train_features=large.astype(np.float32)))
    assert np.isfinite(lava_values(**changed(train_features=with_number(1e3, 17, 2))).values).all()


REFUSED = {
    "other dimensions": (changed(val_features=np.zeros((18, 5))), "got 4 and 5 dimensions"),
    "no training items": (
        changed(train_features=np.zeros((0, 4)), train_labels=np.zeros(0, int)),
        r"training features have shape \(0, 4\)",
    ),
    "no validation items": (
        changed(val_features=np.zeros((0, 4)), val_labels=np.zeros(0, int)),
        r"validation features have shape \(0, 4\)",
    ),
    "one dimension": (changed(train_features=np.zeros(24)), r"training features are float64 of shape \(24,\)"),
    "a label that validation lacks": (
        changed(train_labels=np.where(np.arange(24) == 5, 8, np.arange(24) % 3)),
        "none has label 8",
    ),
    "another number of labels": (changed(train_labels=np.zeros(23, int)), r"got 24 training items .* \(23,\)"),
    "another number in validation": (changed(val_labels=np.zeros(19, int)), r"got 18 validation items .* \(19,\)"),
    "labels that are no integers": (changed(train_labels=np.zeros(24)), "float64 labels"),
    "the same features": (
        changed(train_features=np.full((24, 4), 0.1)),
        "training items must differ in their features.*choose another encoder",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("value", [lava_values, check_labelled])
def test_what_cannot_be_compared_is_refused(case: str, value) -> None:
    problem, expected = REFUSED[case]
    with pytest.raises(InputError, match=expected):
        value(**problem)


def test_several_labels_that_validation_lacks_are_counted() -> None:
    with pytest.raises(InputError, match=r"none has label 2 \(2 such labels\)"):
        lava_values(**changed(train_labels=np.arange(24) % 4, val_labels=np.arange(18) % 2))


@pytest.mark.parametrize("side", ["train_labels", "val_labels"])
def test_labels_of_one_side_are_refused(side: str) -> None:
    with pytest.raises(InputError, match="give both, or neither"):
        lava_values(**changed(**{side: None}))


def test_labels_are_counted_where_parts_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "CHUNK", 12)
    with pytest.raises(InputError, match=r"got 24 training items and int64 labels of shape \(25,\)"):
        lava_values(**changed(train_labels=np.arange(25) % 3))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("name", ["epsilon", "tolerance", "feature_weight", "max_iterations", "label_weight"])
def test_options_out_of_range_are_refused(name: str, value: float) -> None:
    if name == "label_weight" and value == 0:
        value = -0.5
    with pytest.raises(InputError, match=f"{name} is a finite number.*got {value}"):
        lava_values(*blobs(), **{name: value})


@pytest.fixture
def rounded_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("rounded_products")
def test_rounded_products_of_matrices_are_refused() -> None:
    with pytest.raises(InputError, match="set_float32_matmul_precision"):
        lava_values(*blobs())


def test_items_of_unseen_labels_share_the_lowest_value() -> None:
    found = with_lowest(ItemValues(np.array([0.5, -2.0]), {"scale": 1.0}), np.array([False, True, False, True]))
    np.testing.assert_array_equal(found.values, [-2, 0.5, -2, -2])
    assert found.diagnostics == {"scale": 1.0, "unseen_labels": 2}


@pytest.mark.parametrize("seed", range(3))
def test_what_labels_are_apart_is_found_where_hardly_any_mass_goes_between_them(seed: int) -> None:
    """Columns are nearly right whatever it is: Sinkhorn's algorithm alone stops far from it."""
    problem = blobs(seed, items=90, validation=60, spread=0.4, apart=3)
    found = lava_values(*problem, epsilon=0.3)
    converged = lava_values(*problem, epsilon=0.3, **TIGHT)
    assert found.diagnostics["iterations"] < 30
    np.testing.assert_allclose(found.values, converged.values, atol=1e-3 * converged.diagnostics["scale"])


def test_labels_too_far_apart_to_tell_are_left_where_they_are() -> None:
    train, labels, _, _ = (part.astype(np.float32) if part.dtype.kind == "f" else part for part in blobs(apart=50))
    found = lava_values(train, labels, train, labels)
    assert found.diagnostics["marginal_error"] <= 1e-3
    assert np.isfinite(found.values).all()


@pytest.mark.parametrize(("first", "second", "shift"), [(1.0, 1.0, 2.0), (1.0, 2.5, 0.0), (0.5, 1.5, 1.0)])
def test_distance_of_gaussians_on_a_line(first: float, second: float, shift: float) -> None:
    """W1 is the mean distance of equal quantiles: E|(s2 - s1) Z + m|, of a folded normal variable."""
    quantiles = norm.ppf((np.arange(600) + 0.5) / 600)[:, None]
    found = lava_values(first * quantiles, None, second * quantiles + shift, None, epsilon=0.005, tolerance=1e-4)
    spread = abs(second - first)
    folded = abs(shift)
    if spread:
        folded = spread * np.sqrt(2 / np.pi) * np.exp(-((shift / spread) ** 2) / 2)
        folded += shift * (1 - 2 * norm.cdf(-shift / spread))
    assert found.diagnostics["distance"] == pytest.approx(folded, rel=0.01)

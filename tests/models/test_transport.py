"""Entropic transport: other solvers' converged answers, closed forms, and what a solution says of itself."""

from __future__ import annotations

import numpy as np
import ot
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation import costs, mixing, transport
from royalty.models.valuation.costs import MatrixCost, PointCost
from royalty.models.valuation.transport import NotConverged, Transport, solve_transport

Clouds = tuple[np.ndarray, np.ndarray]


def clouds(seed: int = 0, sources: int = 40, targets: int = 30, kind: type = np.float64) -> Clouds:
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(sources, 3)), generator.normal(size=(targets, 3)) + 0.5
    return first.astype(kind), second.astype(kind)


def distances(given: Clouds) -> np.ndarray:
    return np.asarray(ot.dist(*given, metric="euclidean"), dtype=np.float64)


def even(count: int) -> np.ndarray:
    return np.full(count, 1 / count)


def solve(
    cost: MatrixCost | PointCost,
    share: float,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 5000,
    weights: Clouds | None = None,
    **options,
) -> Transport:
    """Epsilon is given as a share of the scale."""
    a, b = (even(count) for count in cost.shape) if weights is None else weights
    epsilon = share * cost.scale
    return solve_transport(cost, a, b, epsilon=epsilon, tolerance=tolerance, max_iterations=max_iterations, **options)


def coupling(found: Transport, matrix: np.ndarray, epsilon: float, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    sent: np.ndarray = a[:, None] * b * np.exp((found.source[:, None] + found.target - matrix) / epsilon)
    return sent


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.1, 0.03, 0.01])
def test_equals_the_converged_solution_of_a_peer(share: float, weighted: bool) -> None:
    given = clouds()
    matrix, generator = distances(given), np.random.default_rng(1)
    a, b = (generator.dirichlet(np.full(n, 5.0)) for n in matrix.shape) if weighted else map(even, matrix.shape)
    cost = MatrixCost(matrix) if weighted else PointCost(*given)
    epsilon = share * cost.scale
    plan, log = ot.bregman.sinkhorn_log(a, b, matrix, epsilon, numItermax=100_000, stopThr=1e-12, log=True)
    source, target = epsilon * (log["log_u"] - np.log(a)), epsilon * (log["log_v"] - np.log(b))

    found = solve(cost, share, weights=(a, b))
    np.testing.assert_allclose(found.source, source + target.mean(), atol=1e-6)
    np.testing.assert_allclose(found.target, target - target.mean(), atol=1e-6)
    np.testing.assert_allclose(coupling(found, matrix, epsilon, a, b), plan, atol=1e-9)
    assert found.distance == pytest.approx((plan * matrix).sum(), abs=1e-8)
    relative = (plan * np.log(np.maximum(plan / np.outer(a, b), 1e-300))).sum()
    assert found.dual == pytest.approx((plan * matrix).sum() + epsilon * relative, abs=1e-8)


def test_falls_to_the_linear_program_with_epsilon() -> None:
    given = clouds()
    exact = ot.emd2(even(40), even(30), distances(given))
    found = [solve(PointCost(*given), share, tolerance=1e-6) for share in (0.3, 0.1, 0.03, 0.01, 0.003)]
    for name, close in (("distance", 0.001), ("dual", 0.02)):
        values = [getattr(solution, name) for solution in found]
        assert values == sorted(values, reverse=True)
        assert exact - 1e-5 < values[-1] < exact * (1 + close)
    assert all(solution.distance <= solution.dual for solution in found)


def test_a_cost_of_two_sums_has_those_as_potentials() -> None:
    generator = np.random.default_rng(0)
    rows, columns = generator.normal(size=7) + 3, generator.normal(size=5) + 3
    found = solve(MatrixCost(rows[:, None] + columns), 0.05)
    np.testing.assert_allclose(found.source, rows + columns.mean(), atol=1e-8)
    np.testing.assert_allclose(found.target, columns - columns.mean(), atol=1e-8)
    assert found.distance == pytest.approx(rows.mean() + columns.mean())
    assert found.dual == pytest.approx(found.distance)


@pytest.mark.parametrize("apart", [0.5, 2.0, 20.0])
def test_two_points_a_side(apart: float) -> None:
    found = solve(MatrixCost(np.array([[0, apart], [apart, 0]])), 0.4)
    epsilon = 0.4 * apart / 2
    assert found.distance == pytest.approx(apart / (1 + np.exp(apart / epsilon)))
    # The entry at cost zero holds 1/2 / (1 + exp(-apart / epsilon)) of the mass, from which f + g follows.
    assert found.dual == pytest.approx(epsilon * np.log(2 / (1 + np.exp(-apart / epsilon))))


def test_groups_add_their_part_and_keep_count_of_where_they_go() -> None:
    given, generator = clouds(), np.random.default_rng(2)
    offsets, groups = generator.random((4, 30)), generator.integers(4, size=40)
    cost = PointCost(*given, feature_weight=0.7, offsets=offsets, groups=groups)
    matrix = 0.7 * distances(given) + offsets[groups]
    found, same = solve(cost, 0.05), solve(MatrixCost(matrix), 0.05 * cost.scale / matrix.std())
    np.testing.assert_allclose(found.source, same.source, atol=1e-7)
    assert found.distance == pytest.approx(same.distance)
    sent = coupling(found, matrix, 0.05 * cost.scale, even(40), even(30))
    expected = np.stack([sent[groups == group].sum(axis=0) for group in range(4)])
    np.testing.assert_allclose(found.flow, expected, atol=1e-10)
    assert cost.scale == pytest.approx(matrix.std())


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-7])
def test_marginal_error_is_that_of_the_potentials(tolerance: float) -> None:
    matrix = distances(clouds())
    a, b = (np.random.default_rng(3).dirichlet(np.full(n, 5.0)) for n in matrix.shape)
    found = solve(MatrixCost(matrix), 0.05, tolerance=tolerance, weights=(a, b))
    sent = coupling(found, matrix, 0.05 * matrix.std(), a, b)
    np.testing.assert_allclose(sent.sum(axis=1), a, atol=1e-12)
    assert found.marginal_error == pytest.approx(np.abs(sent.sum(axis=0) - b).sum(), abs=1e-12)
    assert 0 < found.marginal_error <= tolerance
    assert found.distance == pytest.approx((sent * matrix).sum())


def test_too_few_passes_are_an_error_that_names_them() -> None:
    seen: list[int] = []
    problem = PointCost(*clouds())
    with pytest.raises(NotConverged, match=r"at most 1e-06; after 9 passes it is \d.*max_iterations") as caught:
        solve(problem, 0.001, tolerance=1e-6, max_iterations=9, progress=seen.append)
    assert isinstance(caught.value, InputError)
    assert seen == [1] * 9
    with pytest.raises(NotConverged, match="in 5 passes before transport is solved at it; `max_iterations` allows 5"):
        solve(problem, 0.001, tolerance=1e-6, max_iterations=5)


@pytest.mark.parametrize("targets", [1, 30])
def test_more_accuracy_than_float32_has_is_an_error(targets: int) -> None:
    with pytest.raises(NotConverged, match="float64"):
        solve(PointCost(*clouds(targets=targets, kind=np.float32)), 0.3, tolerance=1e-14, max_iterations=100)


def test_tiles_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    given, groups = clouds(), np.arange(40) % 3
    options = {"offsets": np.random.default_rng(0).random((3, 30)), "groups": groups}
    options["scale"] = PointCost(*given, **options).scale
    whole = solve(PointCost(*given, **options), 0.05)
    monkeypatch.setattr(costs, "KEPT", 1)
    for tile in (7 * 30, 1):
        monkeypatch.setattr(costs, "TILE", tile)
        cost = PointCost(*given, **options)
        assert cost.kept is None
        assert len(list(cost.tiles())) == -(-40 // max(tile // 30, 1))
        tiled = solve(cost, 0.05)
        np.testing.assert_allclose(tiled.source, whole.source, atol=1e-8)
        np.testing.assert_allclose(tiled.flow, whole.flow, atol=1e-9)
        assert tiled.distance == pytest.approx(whole.distance)
        assert tiled.iterations == whole.iterations


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0])
def test_kept_exponentials_give_what_full_passes_give(
    monkeypatch: pytest.MonkeyPatch, epsilon: float, kind: type
) -> None:
    """Also with a potential that moves too far for them, and with weights that differ."""
    given, groups = clouds(kind=kind), np.arange(40) % 3
    options = {"offsets": np.random.default_rng(0).random((3, 30)), "groups": groups}
    weights = tuple(np.random.default_rng(3).dirichlet(np.full(n, 5.0)) for n in (40, 30))
    made: list[float] = []
    monkeypatch.setattr(
        transport._Kept, "sweep", lambda kept, *at, sweep=transport._Kept.sweep: made.append(1) or sweep(kept, *at)
    )
    tolerance = 1e-4 if kind == np.float32 else 1e-8
    kept = solve(PointCost(*given, **options), epsilon, tolerance=tolerance, weights=weights)
    assert len(made) > kept.iterations / 3
    monkeypatch.setattr(transport, "NEAR", 1e-3)
    far = solve(PointCost(*given, **options), epsilon, tolerance=tolerance, weights=weights)
    made.clear()
    monkeypatch.setattr(costs, "KEPT", 1)
    full = solve(PointCost(*given, **options), epsilon, tolerance=tolerance, weights=weights)
    assert not made
    for other in (kept, far):
        np.testing.assert_allclose(other.source, full.source, atol=10 * tolerance)
        np.testing.assert_allclose(other.flow, full.flow, atol=10 * tolerance)
        assert other.distance == pytest.approx(full.distance, rel=10 * tolerance)
        assert other.dual == pytest.approx(full.dual, rel=10 * tolerance)
        if kind == np.float64:
            assert other.iterations == full.iterations


def test_a_warm_start_takes_fewer_passes_to_the_same_solution() -> None:
    given, seen = clouds(), []
    cold = solve(PointCost(*given), 0.03, progress=seen.append)
    assert seen == [1] * cold.iterations
    warm = solve(PointCost(*given), 0.03, start=cold.target)
    assert warm.iterations == 1
    beside = solve(PointCost(given[0] + 0.001, given[1]), 0.03, tolerance=1e-4, start=cold.target)
    assert beside.iterations < solve(PointCost(given[0] + 0.001, given[1]), 0.03, tolerance=1e-4).iterations
    np.testing.assert_allclose(warm.source, cold.source, atol=1e-8)


def test_mixing_takes_a_fraction_of_the_plain_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    given = clouds()
    mixed = solve(PointCost(*given), 0.01, tolerance=1e-6)
    monkeypatch.setattr(mixing, "MEMORY", 1)
    plain = solve(PointCost(*given), 0.01, tolerance=1e-6)
    np.testing.assert_allclose(mixed.source, plain.source, atol=1e-4)
    assert mixed.iterations < plain.iterations / 3


@pytest.mark.parametrize("seed", range(6))
def test_mixing_that_leads_astray_is_taken_back(seed: int) -> None:
    given = clouds(seed, 8, 6)
    found = solve(PointCost(*given), 0.001, tolerance=1e-4, max_iterations=3000)
    assert found.distance == pytest.approx(ot.emd2(even(8), even(6), distances(given)), rel=0.01)


@pytest.mark.parametrize("share", [0.6, 0.12])
def test_float32_is_close_to_float64(share: float) -> None:
    given = clouds(sources=200, targets=100, kind=np.float32)
    single = solve(PointCost(*given), share, tolerance=1e-5)
    double = solve(PointCost(*(cloud.astype(np.float64) for cloud in given)), share, tolerance=1e-5)
    np.testing.assert_allclose(single.source, double.source, atol=1e-4)
    np.testing.assert_allclose(single.target, double.target, atol=1e-4)
    assert single.distance == pytest.approx(double.distance, abs=1e-5)
    assert single.source.dtype == np.float64


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_very_small_epsilon_is_finite(kind: type) -> None:
    given = clouds(kind=kind)
    found = solve(PointCost(*given), 0.002, tolerance=1e-3)
    assert np.isfinite(np.concatenate([found.source, found.target, found.flow[0]])).all()
    assert found.distance == pytest.approx(ot.emd2(even(40), even(30), distances(given)), rel=0.01)


def test_a_centre_keeps_digits_far_from_the_origin() -> None:
    first, second = clouds(kind=np.float32)
    far = (first + np.float32(512)), (second + np.float32(512))
    near = tuple(cloud - np.float32(512) for cloud in far)
    found = solve(PointCost(*far, centre=np.full(3, 512.0)), 0.1, tolerance=1e-5)
    np.testing.assert_allclose(found.source, solve(PointCost(*near), 0.1, tolerance=1e-5).source, atol=1e-6)

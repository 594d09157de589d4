"""Transports solved several at once: the solutions of one after the other, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from royalty.models.base.choices import SavaForm
from royalty.models.valuation import stacked_transport
from royalty.models.valuation.costs import GPU_TILE, LEAST_ON_GPU, PointCost, placed
from royalty.models.valuation.sava import batchwise_lava_values, sava_values
from royalty.models.valuation.stacked_transport import solve_transports, source_potentials, stacks
from royalty.models.valuation.transport import NotConverged, solve_transport, source_potential

CPU = torch.device("cpu")
SOLVED: dict[str, Any] = {"epsilon": 0.1, "tolerance": 1e-6, "max_iterations": 500}

pytestmark = pytest.mark.usefixtures("one_thread")


def sets(items: int, val_items: int, kind: type = np.float64) -> tuple[np.ndarray, ...]:
    """Items of three labels around three centres, a fifth of them with another label."""
    rng = np.random.default_rng(0)
    centres, parts = rng.normal(0, 2, (3, 4)), []
    for count in (items, val_items):
        labels = rng.integers(0, 3, count)
        parts += [(centres[labels] + rng.normal(0, 1, (count, 4))).astype(kind), labels]
    parts[1] = np.where(rng.random(items) < 0.2, (parts[1] + 1) % 3, parts[1])
    return tuple(parts)


def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU solve several transports at once, as CUDA does."""
    monkeypatch.setattr(stacked_transport, "STACKED_ON", ("cpu",))
    monkeypatch.setattr(stacked_transport, "LEAST_ON_GPU", 1)


@pytest.mark.parametrize("form", ["joint", "paper"])
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(("kind", "close"), [(np.float64, 1e-10), (np.float32, 1e-3)])
def test_values_are_those_of_one_pair_after_the_other(
    form: SavaForm, labelled: bool, kind: type, close: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, labels, val, val_labels = sets(130, 75, kind)  # batches of validation items of two sizes
    given = (train, labels, val, val_labels) if labelled else (train, None, val, None)
    settings: dict[str, Any] = {"batch_size": 20, "form": form, "tolerance": 1e-4, "device": CPU}
    alone = sava_values(*given, **settings)
    on_cpu(monkeypatch)
    sizes, solved = [], stacked_transport._solved
    monkeypatch.setattr(
        stacked_transport, "_solved", lambda costs, *rest: sizes.append(len(costs)) or solved(costs, *rest)
    )
    together = sava_values(*given, **settings)
    assert sizes == [3] * 7  # and one of another size by itself
    np.testing.assert_allclose(together.values, alone.values, rtol=0, atol=close * np.ptp(alone.values))
    passes = 0 if kind is np.float64 else 0.02  # a pass more or less by rounding
    assert together.diagnostics["iterations"] == pytest.approx(alone.diagnostics["iterations"], rel=passes)
    assert together.diagnostics["distance"] == pytest.approx(alone.diagnostics["distance"], rel=1e-6)


def test_the_naive_baseline_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = sets(60, 40)
    alone = batchwise_lava_values(*given, batch_size=20, device=CPU)
    on_cpu(monkeypatch)
    together = batchwise_lava_values(*given, batch_size=20, device=CPU)
    np.testing.assert_allclose(together.values, alone.values, rtol=0, atol=1e-9)


def costs(pairs: int, missing: bool = False) -> list[PointCost]:
    """Costs with two groups of sources, and three of targets; one pair lacks the last of these if asked to."""
    rng = np.random.default_rng(1)
    sources, groups = rng.normal(0, 1, (12, 3)), np.arange(12) % 2
    made = []
    for pair in range(pairs):
        targets = np.arange(9) % (2 if missing and pair == 1 else 3)
        points = rng.normal(0, 1, (9, 3)) + 3 * targets[:, None]
        offsets = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0]])[:, targets]
        made.append(PointCost(sources, points, offsets=offsets, groups=groups, target_groups=targets, scale=1.0))
    return made


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_every_number_of_a_transport_is_that_of_the_pair_alone(start: bool, missing: bool) -> None:
    weights = np.full(12, 1 / 12), np.full(9, 1 / 9)
    made = costs(3, missing)
    starts = [np.linspace(-1, 1, 9) * pair for pair in range(3)] if start else None
    together = solve_transports(made, *weights, **SOLVED, starts=starts)
    for pair, (cost, transport) in enumerate(zip(made, together, strict=True)):
        alone = solve_transport(cost, *weights, **SOLVED, start=None if starts is None else starts[pair])
        assert transport.iterations == alone.iterations
        for name in ("source", "target", "distance", "dual", "flow"):
            np.testing.assert_allclose(getattr(transport, name), getattr(alone, name), rtol=1e-9, atol=1e-9)
        assert transport.marginal_error == pytest.approx(alone.marginal_error, abs=1e-10)
        assert transport.drift == pytest.approx(alone.drift, abs=1e-10)


def test_potentials_of_sources_are_those_of_each_pair() -> None:
    weights, made = (np.full(12, 1 / 12), np.full(9, 1 / 9)), costs(3)
    targets = [np.linspace(0, pair, 9) for pair in range(3)]
    sources, masses = source_potentials(made, *weights, targets, 0.1)
    for cost, target, source, mass in zip(made, targets, sources, masses, strict=True):
        alone = source_potential(cost, *weights, target, 0.1)
        np.testing.assert_allclose(source, alone[0], atol=1e-12)
        np.testing.assert_allclose(mass, alone[1], atol=1e-12)


def test_a_pair_that_does_not_converge_is_an_error_as_alone() -> None:
    weights = np.full(12, 1 / 12), np.full(9, 1 / 9)
    with pytest.raises(NotConverged, match="after 9 passes it is"):
        solve_transports(costs(2), *weights, epsilon=0.1, tolerance=1e-15, max_iterations=9, starts=None)


def test_a_stack_is_of_one_shape_and_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    assert stacks(100, [50, 50, 49, 50], CPU) == stacks(100, [50, 50, 49, 50], None) == [[0], [1], [2], [3]]
    assert stacks(100, [50, 50, 49, 50], gpu) == [[0], [1], [3], [2]], "the CPU computes costs as small as these"
    monkeypatch.setattr(stacked_transport, "LEAST_ON_GPU", 100 * 49)
    assert stacks(100, [50, 50, 49, 50], gpu) == [[0, 1, 3], [2]]
    monkeypatch.setattr(stacked_transport, "STACKED_ENTRIES", 10_000)
    assert stacks(100, [50, 50, 49, 50], gpu) == [[0, 1], [3], [2]]
    monkeypatch.undo()
    most = GPU_TILE // 100  # a larger cost is not kept in memory
    assert stacks(100, [most] * 2, gpu) == [[0, 1]]
    assert stacks(100, [most + 1] * 2, gpu) == [[0], [1]]


def test_a_small_cost_is_computed_on_the_cpu() -> None:
    gpu = torch.device("cuda")
    assert placed(None, LEAST_ON_GPU) == placed(gpu, LEAST_ON_GPU - 1) == CPU
    assert placed(gpu, LEAST_ON_GPU) == gpu
    points = np.zeros((12, 3))
    assert PointCost(points, points, device=gpu).device == CPU  # no GPU is asked

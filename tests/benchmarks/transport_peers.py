"""Seconds of LAVA's transport against the fast solvers of other packages, from small to large epsilon, in one run.

python -m tests.benchmarks.transport_peers [--items 2500] [--validation 500] [--rounds 3]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from ot import sinkhorn

from royalty.models.valuation.costs import PointCost
from royalty.models.valuation.ground import Options, chunks, survey
from royalty.models.valuation.lava import MAX_ITERATIONS
from royalty.models.valuation.transport import NotConverged, solve_transport
from tests.benchmarks.lava_speed import FLIPPED, TOLERANCE, blobs, full_matrix, least_seconds, verdict

EPSILONS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3)
MOST = 1024
"""Passes after which a peer has failed."""

TITLE = """\
Transport of {n:,} training items of 10 blobs, a quarter mislabelled, to {m:,} of validation; {d} dimensions of float32,
to a marginal error of {tolerance:g} in L1. {threads} thread(s); processor seconds, the least of {rounds} interleaved
rounds.

All are given the finished cost matrix; its own time is the last row. Peers are given the first number of passes of 16,
24, 32, 48, ... that reaches the error, too. `sinkhorn` of POT is the algorithm of Knopp, which exponentiates the costs
once. A peer that does not reach the error in {most:,} passes has no time.
"""

Plan = Callable[[int], np.ndarray]
"""From a number of passes to a coupling, `(n, m)`."""


def error_of(plan: np.ndarray) -> float:
    """L1, of rows and columns together; infinite if the coupling is not finite."""
    errors = [float(np.abs(plan.sum(axis) - 1 / plan.shape[1 - axis]).sum()) for axis in (0, 1)]
    return sum(errors) if np.isfinite(errors).all() else np.inf


def fewest(solve: Plan) -> tuple[int, float]:
    """The first number of passes that reaches the tolerance, and the error; 0 and the last error if none does."""
    error, passes = np.inf, 16
    while passes <= MOST:
        for some in (passes, passes * 3 // 2):
            error = error_of(solve(some))
            if error <= TOLERANCE:
                return some, error
        passes *= 2
    return 0, error


def peers(costs: np.ndarray, epsilon: float) -> dict[str, Plan]:
    """Solvers of the packages that are installed."""
    weights = [np.full(size, 1 / size) for size in costs.shape]
    costs = costs - costs.min()  # so that fewer exponentials underflow
    single = torch.from_numpy(costs.astype(np.float32))

    def knopp(kind: str) -> Plan:
        sides: list[Any] = [*weights, costs] if kind == "float64" else [torch.from_numpy(w).float() for w in weights]
        sides = sides if kind == "float64" else [*sides, single]
        return lambda passes: np.asarray(
            sinkhorn(*sides, epsilon, method="sinkhorn", numItermax=passes, stopThr=0.0, warn=False), np.float64
        )

    solvers = {"POT sinkhorn, numpy float64": knopp("float64"), "POT sinkhorn, torch float32": knopp("float32")}
    if find_spec("geomloss") is not None:
        from geomloss import ot

        solvers["GeomLoss, torch float32"] = lambda passes: (
            ot.solve(single, reg=epsilon, max_iter=passes).plan.double().numpy()
        )
    if find_spec("ott") is not None:
        for mode, in_logs in (("kernel", False), ("logarithms", True)):
            solvers[f"OTT, {mode}, jax float32"] = compiled(costs.astype(np.float32), epsilon, in_logs)
    return solvers


def compiled(costs: np.ndarray, epsilon: float, in_logs: bool) -> Plan:
    """OTT's Sinkhorn; no time has the compilation, which is once for each number of passes."""
    import jax

    matrix = jax.numpy.asarray(costs)
    return lambda passes: np.asarray(_by_ott(passes, in_logs)(matrix, epsilon), np.float64)


@cache
def _by_ott(passes: int, in_logs: bool) -> Any:
    import jax
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    solve = Sinkhorn(threshold=0.0, min_iterations=passes, max_iterations=passes, lse_mode=in_logs)
    return jax.jit(lambda matrix, epsilon: solve(LinearProblem(Geometry(cost_matrix=matrix, epsilon=epsilon))).matrix)


def compare(n: int, m: int, d: int, epsilon: float, rounds: int) -> None:
    train, labels, _ = blobs(n, d, seed=0, flipped=FLIPPED)
    val, val_labels, _ = blobs(m, d, seed=1)
    options = Options(1.0, 1.0, epsilon, TOLERANCE, MAX_ITERATIONS)
    ground = survey(chunks(train, labels), (val, val_labels), options)
    weights = np.full(n, 1 / n), np.full(m, 1 / m)

    def computed() -> PointCost:
        return ground.cost((train, labels), (val, val_labels))

    cost = computed()

    def solve() -> Any:
        return solve_transport(
            cost, *weights, epsilon=ground.epsilon, tolerance=TOLERANCE, max_iterations=MAX_ITERATIONS
        )

    tasks: dict[str, Callable[[], object]] = {}
    notes: dict[str, tuple[int, float]] = {}
    try:
        found = solve()
    except NotConverged as error:
        print(f"epsilon {epsilon:g}: LAVA did not converge: {error}")
    else:
        tasks["LAVA"], notes["LAVA"] = solve, (found.iterations, found.marginal_error)
    for name, plan in peers(full_matrix(computed()), ground.epsilon).items():
        notes[name] = fewest(plan)
        if passes := notes[name][0]:
            tasks[name] = lambda plan=plan, passes=passes: plan(passes)
    taken = least_seconds(tasks | {"cost": computed}, rounds)
    matrix = taken.pop("cost")
    for name, (passes, error) in notes.items():
        seconds = f"{taken[name].processor:>12.3f}" if passes else f"{'-':>12}"
        print(f"{epsilon:>8g}  {name:<30}{passes or '-':>8}{error:>10.2g}{seconds}")
    print(f"{'':>10}{'the cost matrix':<46}{matrix.processor:>13.3f}")
    rivals = {name: seconds.processor for name, seconds in taken.items() if name != "LAVA"}
    if "LAVA" in taken and rivals:
        best = min(rivals, key=rivals.__getitem__)
        ratio = rivals[best] / taken["LAVA"].processor
        print(f"{'':>10}{best} takes {ratio:.2f} times as long as LAVA, {verdict(ratio >= 1)} at least 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2_500)
    parser.add_argument("--validation", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    warnings.filterwarnings("ignore", module="ot")  # POT warns of each overflow, which the error shows
    shape = {"n": chosen.items, "m": chosen.validation, "d": 512}
    print(TITLE.format(**shape, tolerance=TOLERANCE, threads=chosen.threads, rounds=chosen.rounds, most=MOST))
    print(f"{'epsilon':>8}  {'':<30}{'passes':>8}{'error':>10}{'processor, s':>12}")
    for epsilon in EPSILONS:
        compare(**shape, epsilon=epsilon, rounds=chosen.rounds)
    for package in ("geomloss", "ott"):
        if find_spec(package) is None:
            print(f"{package} is not installed, and not in the table")


if __name__ == "__main__":
    main()

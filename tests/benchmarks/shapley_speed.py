"""Seconds to draw coalitions and to estimate Shapley values with intervals, at full size.

python -m tests.benchmarks.shapley_speed [--players 258] [--coalitions 5000] [--draws 1000]
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.shapley import estimate_shapley
from tests.models.games import noisy, random_interacting

TARGET = 5.0  # seconds of one estimate

TITLE = """\
Wall-clock seconds at {players} players, {coalitions} coalitions and {draws} bootstrap draws; {threads} threads for
linear algebra; best of {repeats}.
Of one fit: ratio to a single constrained least-squares fit on the same coalitions, without intervals: the least that
any estimate takes. Of target: ratio to {target:g} s. Memory: the most that the process has held up to that row.
"""


def seconds(task: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        task()
        taken.append(time.perf_counter() - started)
    return min(taken)


def one_fit(masks: np.ndarray, utilities: np.ndarray, null: float, grand: float) -> np.ndarray:
    """Constrained least squares of the utilities on the masks, `(n,)`."""
    design = masks.astype(float)
    moments = np.column_stack([design.T @ (utilities - null), np.ones(masks.shape[1])])
    free, equal = np.linalg.solve(design.T @ design, moments).T
    values: np.ndarray = free - equal * (free.sum() - grand + null) / equal.sum()
    return values


def row(name: str, taken: float, fit: float) -> str:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kibibytes on Linux
    return f"{name:<36}{taken:>9.3f}{taken / fit:>12.1f}{taken / TARGET:>12.2f}{memory:>13.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--players", type=int, default=258)
    parser.add_argument("--coalitions", type=int, default=5000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--estimators", nargs="*", default=["auto", "constrained", "mixed", "unbiased"])
    chosen = parser.parse_args()
    players, repeats = chosen.players, chosen.repeats
    game = random_interacting(players, seed=0)
    utility = noisy(game.utility, players, 0.5 * game.spread, seed=0)
    null, grand = (float(end) for end in utility(np.repeat([[False], [True]], players, axis=1)))
    masks = sample_coalitions(players, chosen.coalitions, seed=0)
    utilities = utility(masks)

    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(TITLE.format(**vars(chosen), threads=threads, target=TARGET))
    print(f"{'':<36}{'seconds':>9}{'of one fit':>12}{'of target':>12}{'memory, GiB':>13}")
    fit = seconds(lambda: one_fit(masks, utilities, null, grand), max(repeats, 3))
    print(row("one fit, no intervals", fit, fit))
    draw = seconds(lambda: sample_coalitions(players, chosen.coalitions, seed=1), repeats)
    print(row("sample_coalitions", draw, fit))
    for estimator in chosen.estimators:
        options: dict[str, Any] = {"estimator": estimator, "n_bootstrap": chosen.draws}
        taken = seconds(lambda o=options: estimate_shapley(masks, utilities, null, grand, **o), repeats)  # type: ignore[misc]
        print(row(f"estimate_shapley, {estimator}", taken, fit), flush=True)


if __name__ == "__main__":
    main()

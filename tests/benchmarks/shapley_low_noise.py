"""Error of `estimate_shapley` at low noise and with many coalitions, next to the estimators of shapiq 1.8.

python3.12 -m tests.benchmarks.shapley_peers peers.json    (in an environment with shapiq 1.8)
python -m tests.benchmarks.shapley_low_noise peers.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.shapley import estimate_shapley
from tests.benchmarks.shapley_peers import BUDGETS, FIRST_SEED, NOISE, PLAYERS, low_noise_game, relative_error

TITLE = f"""\
Root-mean-square error of Shapley values in % of their spread, mean ± standard error over games; lower is better.
{PLAYERS} players, Gaussian noise of {NOISE:g} spreads, fixed for each coalition. All methods evaluate the same noisy
games, as often, nobody and everybody included; each draws its own coalitions. Difference: of the error to that of
`auto`, paired by game; above 0, ours is better.
"""


def ours(kind: str, budget: int, estimator: Any, repetitions: int) -> tuple[np.ndarray, float]:
    """Errors by repetition, and seconds an estimate."""
    started, errors = time.perf_counter(), []
    for repetition in range(repetitions):
        game, utility = low_noise_game(kind, repetition)
        masks = sample_coalitions(PLAYERS, budget - 2, seed=FIRST_SEED + 2000 + repetition)
        null, grand = utility(np.repeat([[False], [True]], PLAYERS, axis=1))
        estimate = estimate_shapley(masks, utility(masks), float(null), float(grand), estimator=estimator)
        errors.append(relative_error(estimate.values, game))
    return np.array(errors), (time.perf_counter() - started) / repetitions


def row(kind: str, budget: int, method: str, errors: np.ndarray, reference: np.ndarray, seconds: float) -> str:
    scale = 100 / np.sqrt(len(errors))
    more = errors - reference
    return (
        f"{kind:<12}{budget:>6} {method:<24}{100 * errors.mean():7.2f} ± {scale * errors.std(ddof=1):.2f}"
        f"{100 * more.mean():+9.2f} ± {scale * more.std(ddof=1):.2f}{seconds:9.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", type=Path, help="what `shapley_peers` wrote")
    peers = json.loads(parser.parse_args().peers.read_text())
    repetitions = len(peers[0]["errors"])
    print(TITLE)
    print(f"{'game':<12}{'calls':>6} {'method':<24}{'error (%)':>14}{'difference':>16}{'time':>11}")
    for kind, budget in BUDGETS:
        reference, seconds = ours(kind, budget, "auto", repetitions)
        print(row(kind, budget, "auto", reference, reference, seconds), flush=True)
        errors, seconds = ours(kind, budget, "mixed", repetitions)
        print(row(kind, budget, "mixed", errors, reference, seconds), flush=True)
        for peer in (peer for peer in peers if peer["kind"] == kind):
            print(row(kind, budget, peer["method"], np.array(peer["errors"]), reference, peer["seconds"]), flush=True)


if __name__ == "__main__":
    main()

"""Errors of the estimators of shapiq 1.8 on the games of `shapley_low_noise`, for its comparison.

shapiq 1.8 needs Python 3.12, so this part runs in an environment of its own, with `shapiq==1.8.*`, `xgboost` and
`lightgbm`, and needs nothing of Royalty but the games of the tests:

python3.12 -m tests.benchmarks.shapley_peers peers.json [--repetitions 40]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tests.models.games import KINDS, Game, Utility, noisy

PLAYERS = 20
NOISE = 0.1  # standard deviation, in units of the spread of the Shapley values
BUDGETS = (("interacting", 400), ("saturating", 1000))  # evaluations of nobody and everybody included
FIRST_SEED = 7000
"""Seeds of games; those of noise and of coalitions are 1,000 and 2,000 higher. Chosen before any run."""


def low_noise_game(kind: str, repetition: int) -> tuple[Game, Utility]:
    """A game with its noisy utility."""
    game = KINDS[kind](PLAYERS, FIRST_SEED + repetition)
    return game, noisy(game.utility, PLAYERS, NOISE * game.spread, seed=FIRST_SEED + 1000 + repetition)


def relative_error(values: np.ndarray, game: Game) -> float:
    """Root mean square error in spreads."""
    return float(np.sqrt(np.mean((values - game.shapley) ** 2)) / game.spread)


def _methods() -> dict[str, Callable[[int], Any]]:
    shapiq = import_module("shapiq.approximator")
    odd = import_module("shapiq.approximator.regression.oddshap").OddSHAP
    return {
        "RegressionMSR": lambda seed: shapiq.RegressionMSR(n=PLAYERS, index="SV", random_state=seed),
        "RegressionMSR linear": lambda seed: shapiq.RegressionMSR(
            n=PLAYERS, index="SV", proxy_model="linear", random_state=seed
        ),
        "OddSHAP": lambda seed: odd(n=PLAYERS, random_state=seed),
        "LeverageSHAP": lambda seed: shapiq.LeverageSHAP(n=PLAYERS, random_state=seed),
        "PolySHAP": lambda seed: shapiq.PolySHAP(n=PLAYERS, random_state=seed),
        "PolySHAP pairs": lambda seed: shapiq.PolySHAP(n=PLAYERS, max_order=2, pairing_trick=True, random_state=seed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--repetitions", type=int, default=40)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for kind, budget in BUDGETS:
        for name, build in _methods().items():
            started, errors = time.perf_counter(), []
            for repetition in range(chosen.repetitions):
                game, utility = low_noise_game(kind, repetition)

                def value(masks: np.ndarray, utility: Utility = utility) -> np.ndarray:
                    return utility(np.atleast_2d(masks).astype(bool))

                result = build(FIRST_SEED + 2000 + repetition).approximate(budget, value)
                values = np.array([result[(player,)] for player in range(PLAYERS)])
                errors.append(relative_error(values, game))
            seconds = (time.perf_counter() - started) / chosen.repetitions
            rows.append({"kind": kind, "budget": budget, "method": name, "errors": errors, "seconds": seconds})
            print(f"{kind:<12}{budget:>6} {name:<24}{100 * np.mean(errors):7.2f}%{seconds:8.2f} s", flush=True)
    chosen.output.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()

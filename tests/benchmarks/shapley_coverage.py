"""How often the confidence intervals of Shapley values hold the truth, on noisy games with known answers.

python -m tests.benchmarks.shapley_coverage [--estimator auto] [--games 400] [--noise 0.5] [--exact-ends]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from royalty.models.base.choices import Estimator
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.shapley import estimate_shapley
from tests.models.games import KINDS, noisy

TITLE = """\
Share of true Shapley values inside their {level:.0%} intervals; estimator "{estimator}".
{games} random games of 8 to 20 players, valued from 4 to 10 coalitions a player; every evaluation has Gaussian
noise of {noise:g} spreads (standard deviations of the true values over players), fixed for each coalition.
Nobody and everybody are measured {ends}.

coverage   share of players, with its standard error over games (players of a game are not independent)
below, above   share of players whose interval is all below or all above the truth; {tail:.1%} each is due
width      mean width of the intervals, in spreads
error      root-mean-square error, in spreads
z          root-mean-square of error over standard error: 1 if standard errors are right, slightly more where
           they rest on few coalitions, which the intervals allow for
"""

HEADER = (
    f"{'game':<16}{'games':>6}{'players':>9}{'coverage':>18}{'below':>8}{'above':>8}{'width':>8}{'error':>8}{'z':>7}"
)


@dataclass(frozen=True)
class Trial:
    """One valued game: arrays are `(players,)`, in spreads of its Shapley values."""

    kind: str
    truth: np.ndarray
    values: np.ndarray
    stderr: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def held(self) -> np.ndarray:
        return (self.low <= self.truth) & (self.truth <= self.high)


def trial(kind: str, seed: int, estimator: str, noise: float, *, noisy_ends: bool) -> Trial:
    generator = np.random.default_rng(seed)
    players = int(generator.integers(8, 21))
    coalitions = 2 * round(players * generator.uniform(4, 10) / 2)
    of_game, of_noise, of_masks = (int(part) for part in generator.integers(2**31, size=3))
    game = KINDS[kind](players, of_game)
    utility = noisy(game.utility, players, noise * game.spread, of_noise, ends=noisy_ends)
    masks = sample_coalitions(players, coalitions, seed=of_masks)
    null, grand = utility(np.repeat([[False], [True]], players, axis=1))
    options: dict[str, Any] = {"estimator": estimator}
    result = estimate_shapley(masks, utility(masks), float(null), float(grand), seed=seed, **options)
    parts = (game.shapley, result.values, result.stderr, result.ci_low, result.ci_high)
    return Trial(kind, *(part / game.spread for part in parts))


def row(name: str, trials: Iterable[Trial]) -> str:
    chosen = list(trials)
    held = np.array([trial.held.mean() for trial in chosen])
    truth, values, stderr, low, high = (
        np.concatenate([getattr(trial, part) for trial in chosen])
        for part in ("truth", "values", "stderr", "low", "high")
    )
    players = [len(trial.truth) for trial in chosen]
    coverage = np.average(held, weights=players)
    uncertainty = held.std(ddof=1) / np.sqrt(len(held))
    error = float(np.sqrt(np.mean((values - truth) ** 2)))
    deviation = np.sqrt(np.mean(((values - truth) / np.maximum(stderr, 1e-12)) ** 2))
    return (
        f"{name:<16}{len(chosen):>6}{len(truth):>9}{f'{coverage:.1%} ± {uncertainty:.1%}':>18}"
        f"{np.mean(high < truth):>8.1%}{np.mean(low > truth):>8.1%}{np.mean(high - low):>8.2f}{error:>8.3f}"
        f"{deviation:>7.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--estimator", default="auto", choices=sorted(get_args(Estimator)))
    parser.add_argument("--games", type=int, default=400)
    parser.add_argument("--noise", type=float, default=0.5, help="in spreads of the Shapley values")
    parser.add_argument("--exact-ends", action="store_true", help="no noise for nobody and everybody")
    chosen = parser.parse_args()
    started, kinds = time.perf_counter(), list(KINDS)
    ends = "without noise" if chosen.exact_ends else "with the same noise"
    print(
        TITLE.format(
            level=0.95, tail=0.025, estimator=chosen.estimator, games=chosen.games, noise=chosen.noise, ends=ends
        )
    )
    trials = [
        trial(kinds[seed % len(kinds)], seed, chosen.estimator, chosen.noise, noisy_ends=not chosen.exact_ends)
        for seed in range(chosen.games)
    ]
    print(HEADER)
    for kind in kinds:
        print(row(kind, (trial for trial in trials if trial.kind == kind)))
    print(row("all", trials))
    print(f"{time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()

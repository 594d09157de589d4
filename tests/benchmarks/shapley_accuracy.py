"""Error of Shapley estimators against the number of utility evaluations, on noisy games with known answers.

python -m tests.benchmarks.shapley_accuracy [--quick]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from shapiq.approximator import (
    SVARM,
    KernelSHAP,
    OwenSamplingSV,
    PermutationSamplingSV,
    StratifiedSamplingSV,
    UnbiasedKernelSHAP,
    kADDSHAP,
)

from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.shapley import estimate_shapley
from tests.models.games import KINDS, Utility, noisy

NOISE = 0.5  # standard deviation, in units of the spread of the Shapley values
MOST, MOST_QUICK = 5000, 1032  # evaluations
OURS = "ours"

TITLE = f"""\
Shapley estimators at equal numbers of utility evaluations.
Cells: root-mean-square error over players in % of the spread (standard deviation) of the true Shapley values,
mean ± standard error over repetitions; lower is better. Each repetition has its own game, noise and coalitions,
the same for all methods. n: players. m: evaluations, of nobody and everybody included. Every evaluation has
Gaussian noise of {NOISE:g} spreads, fixed for each coalition. Ratio: error of `ours` over that of the best other
method in the row, chosen with hindsight; below 1, ours is better than all. >9999: a regression with too few
coalitions to have one solution.

ours         estimate_shapley, estimator="auto", on sample_coalitions, in pairs from 3 n coalitions
constr.      estimate_shapley, estimator="constrained", on the same
eq. 5        constrained least squares of the sparsified fine-tuning paper, coalitions unpaired
K, U, SV     KernelSHAP, UnbiasedKernelSHAP and SVARM of shapiq; "pair": with its pairing trick
K lever      KernelSHAP of shapiq in pairs, with all sizes equally likely (Leverage SHAP)
kADD         kADD-SHAP of shapiq, order 2
permute, strata, Owen   PermutationSamplingSV, StratifiedSamplingSV and OwenSamplingSV of shapiq
"""


@dataclass
class Meter:
    """A utility that counts its evaluations and refuses more than the budget."""

    utility: Utility
    n_players: int
    budget: int
    used: int = field(default=0)

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        masks = np.atleast_2d(masks).astype(bool)
        self.used += len(masks)
        if self.used > self.budget:
            raise RuntimeError(f"a method evaluates at most {self.budget} coalitions, this one is at {self.used}")
        return self.utility(masks)

    def ends(self) -> tuple[float, float]:
        """Utilities of nobody and of everybody."""
        null, grand = self(np.repeat([[False], [True]], self.n_players, axis=1))
        return float(null), float(grand)


Method = Callable[[Meter, int], np.ndarray]
"""A metered utility and a seed to Shapley values, `(n,)`."""


def ours(estimator: str) -> Method:
    def method(meter: Meter, seed: int) -> np.ndarray:
        null, grand = meter.ends()
        paired = meter.budget - 2 >= 3 * meter.n_players
        masks = sample_coalitions(meter.n_players, meter.budget - 2, seed=seed, paired=paired)
        options: dict[str, Any] = {"estimator": estimator, "n_bootstrap": 2}
        return estimate_shapley(masks, meter(masks), null, grand, **options).values

    return method


def equation_5(meter: Meter, seed: int) -> np.ndarray:
    """phi = A^-1 (b - 1 (1'A^-1 b - v1 + v0) / (1'A^-1 1)), with A = X'X/m and b = X'(v - v0)/m."""
    null, grand = meter.ends()
    generator, players, draws = np.random.default_rng(seed), meter.n_players, meter.budget - 2
    sizes = np.arange(1, players)
    weights = 1 / (sizes * (players - sizes))
    drawn = generator.choice(sizes, size=draws, p=weights / weights.sum())
    masks = generator.random((draws, players)).argsort(axis=1).argsort(axis=1) < drawn[:, None]
    design = masks.astype(float)
    inverse = np.linalg.pinv(design.T @ design / draws, hermitian=True)
    free = inverse @ (design.T @ (meter(masks) - null) / draws)
    equal = inverse.sum(axis=1)
    values: np.ndarray = free - equal * (free.sum() - grand + null) / equal.sum()
    return values


def peer(approximator: Callable[..., Any], **options: Any) -> Method:
    """An approximator of shapiq; it counts nobody and everybody within its budget."""

    def method(meter: Meter, seed: int) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of budgets close to all coalitions
            chosen = {name: option(meter.n_players) if callable(option) else option for name, option in options.items()}
            result = approximator(n=meter.n_players, random_state=seed, **chosen).approximate(meter.budget, meter)
        return np.array([result[(player,)] for player in range(meter.n_players)])

    return method


METHODS: dict[str, Method] = {
    OURS: ours("auto"),
    "constr.": ours("constrained"),
    "eq. 5": equation_5,
    "K": peer(KernelSHAP),
    "K pair": peer(KernelSHAP, pairing_trick=True),
    "K lever": peer(KernelSHAP, pairing_trick=True, sampling_weights=lambda players: np.ones(players + 1)),
    "U pair": peer(UnbiasedKernelSHAP, pairing_trick=True),
    "SV": peer(SVARM),
    "SV pair": peer(SVARM, pairing_trick=True),
    "kADD": peer(kADDSHAP, max_order=2),
    "kADD pair": peer(kADDSHAP, max_order=2, pairing_trick=True),
    "permute": peer(PermutationSamplingSV),
    "strata": peer(StratifiedSamplingSV),
    "Owen": peer(OwenSamplingSV),
}
OTHERS = [name for name in METHODS if name not in (OURS, "constr.")]
SLOW_LOOP = "its loop over players, sizes and coalitions takes seconds at 60 players and a minute at 258"
SLOW_PAIRS = "it regresses on all pairs of players, 1,770 at 60 players and 33,153 at 258"
CAPS = {
    "SV": (20, SLOW_LOOP),
    "SV pair": (20, SLOW_LOOP),
    "kADD": (20, SLOW_PAIRS),
    "kADD pair": (20, SLOW_PAIRS),
}
"""The most players that a slow method is given, and why."""


@dataclass(frozen=True)
class Cell:
    """Errors at one number of players, kind of game and budget: by method, `(repetitions,)`, in spreads."""

    players: int
    kind: str
    budget: int
    errors: dict[str, np.ndarray]

    def best_other(self) -> str:
        return min((name for name in OTHERS if name in self.errors), key=lambda name: float(self.errors[name].mean()))

    def ratio(self, other: str) -> tuple[float, float]:
        """Error of ours over that of another, and its standard error over (shared) repetitions."""
        mine, theirs = self.errors[OURS], self.errors[other]
        ratio = float(mine.mean() / theirs.mean())
        return ratio, float((mine - ratio * theirs).std(ddof=1) / np.sqrt(len(mine)) / theirs.mean())


def measure(players: int, kind: str, budget: int, repetitions: int) -> Cell:
    allowed = (name for name in METHODS if name not in CAPS or players <= CAPS[name][0])
    errors: dict[str, list[float]] = {name: [] for name in allowed}
    for seed in range(repetitions):
        game = KINDS[kind](players, seed)
        utility = noisy(game.utility, players, NOISE * game.spread, seed=1000 + seed)
        for name, record in errors.items():
            values = METHODS[name](Meter(utility, players, budget), 2000 + seed)
            record.append(float(np.sqrt(np.mean((values - game.shapley) ** 2)) / game.spread))
    return Cell(players, kind, budget, {name: np.array(record) for name, record in errors.items()})


def percent(errors: np.ndarray | None) -> str:
    if errors is None:
        return "-"
    if errors.mean() >= 100:
        return ">9999"
    mean, error = 100 * errors.mean(), 100 * errors.std(ddof=1) / np.sqrt(len(errors))
    return f"{mean:.0f}±{error:.0f}" if mean >= 100 else f"{mean:.1f}±{error:.1f}"


def header() -> str:
    names = "".join(f"{name:>11}" for name in METHODS)
    return f"{'n':>3} {'game':<14} {'m':>5}{names}   ratio to the best other"


def row(cell: Cell) -> str:
    values = "".join(f"{percent(cell.errors.get(name)):>11}" for name in METHODS)
    best = cell.best_other()
    ratio, error = cell.ratio(best)
    return f"{cell.players:>3} {cell.kind:<14} {cell.budget:>5}{values}   {ratio:.2f}±{error:.2f} {best}"


def summary(cells: list[Cell]) -> Iterator[str]:
    """Ours against each other method and against the best of each row, by kind of game."""
    yield "\nRatio of the error of `ours` to that of another: median over rows (largest)."
    yield f"{'other':<14}" + "".join(f"{kind:>20}" for kind in KINDS) + f"{'all':>20}"
    for other in ["best of the row", *(name for name in METHODS if name != OURS)]:
        line = f"{other:<14}"
        for kind in [*KINDS, None]:
            chosen = [cell for cell in cells if kind in (cell.kind, None)]
            names = [cell.best_other() if other == "best of the row" else other for cell in chosen]
            ratios = [cell.ratio(name)[0] for cell, name in zip(chosen, names, strict=True) if name in cell.errors]
            line += f"{f'{np.median(ratios):.2f} ({max(ratios):.2f})' if ratios else '-':>20}"
        yield line
    wins = sum(cell.ratio(cell.best_other())[0] <= 1 for cell in cells)
    yield f"`ours` has the smallest error in {wins} of {len(cells)} rows."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer budgets and repetitions, within a minute")
    quick = parser.parse_args().quick
    factors, most = ((4, 20), MOST_QUICK) if quick else ((2, 4, 8, 20), MOST)
    repetitions = {10: 10, 20: 6, 60: 4, 258: 2} if quick else {10: 60, 20: 40, 60: 20, 258: 5}
    started, cells = time.perf_counter(), []
    print(TITLE)
    for name, (players, reason) in CAPS.items():
        print(f"- {name} stops at {players} players: {reason}.")
    print("- ProxySPEX of shapiq is left out: it needs LightGBM and a grid search for each estimate.\n")
    print(header())
    for players in repetitions:
        for kind in KINDS:
            for budget in sorted({min(factor * players, most) for factor in factors}):
                cells.append(measure(players, kind, budget, repetitions[players]))
                print(row(cells[-1]), flush=True)
    print(*summary(cells), sep="\n")
    print(f"Repetitions at each number of players: {repetitions}. {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()

"""Error of credit where small coalitions differ most, by sizes of coalitions and estimator.

    python -m tests.benchmarks.small_coalitions [--games 40] [--players 12] [--coalitions 76]

Errors are root mean square, in percent of the spread of the true Shapley values; coverage is the share of true values
in their 95% intervals.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import get_args

import numpy as np

from royalty.models.base.choices import Sizes
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.semivalues import exact_shapley
from royalty.models.valuation.shapley import estimate_shapley

ESTIMATORS = ("mixed", "stratified", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"games": 40, "players": 12, "coalitions": 76}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    errors, held, chosen = defaultdict(list), defaultdict(list), defaultdict(Counter)
    for seed in range(3000, 3000 + options.games):
        rng = np.random.default_rng(seed)
        for kind, table, noise in games(options.players, rng):
            truth = exact_shapley(lambda masks, table=table: table[codes(masks)], options.players)
            for sizes in get_args(Sizes):
                masks = sample_coalitions(options.players, options.coalitions, seed=seed, sizes=sizes)
                utilities = table[codes(masks)] + rng.normal(0, noise, len(masks))
                grand = table[-1] + rng.normal(0, noise)
                for estimator in ESTIMATORS:
                    found = estimate_shapley(masks, utilities, table[0], grand, estimator=estimator)
                    cell = kind, sizes, estimator
                    errors[cell].append(100 * np.sqrt(((found.values - truth) ** 2).mean()) / truth.std())
                    held[cell].append(((found.ci_low <= truth) & (truth <= found.ci_high)).mean())
                    chosen[cell][str(found.diagnostics["estimator"])] += 1
    print(f"{options.games} games of {options.players} players, {options.coalitions} coalitions each\n")
    print("| Game | Sizes | Estimator | Error | Coverage | Taken by `auto` |\n| --- | --- | --- | --- | --- | --- |")
    for (kind, sizes, estimator), found in errors.items():
        error = np.std(found, ddof=1) / np.sqrt(len(found))
        coverage = 100 * np.mean(held[kind, sizes, estimator])
        taken = chosen[kind, sizes, estimator] if estimator == "auto" else {}
        names = ", ".join(f"{name} {count}" for name, count in taken.items())
        print(f"| {kind} | {sizes} | {estimator} | {np.mean(found):.1f} ± {error:.1f} | {coverage:.1f}% | {names} |")


def games(players: int, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, float]]:
    """Kind, utilities of all coalitions by code, `(2^n,)`, and noise."""
    members = (np.arange(2**players)[:, None] >> np.arange(players)) & 1
    yield "additive", members @ rng.normal(1, 0.5, players), 1.0
    pairs = np.triu(rng.normal(0, 0.3, (players, players)), 1)
    additive = members @ rng.normal(1, 0.5, players)
    yield "interactions of two", additive + np.einsum("si,ij,sj->s", members, pairs, members), 0.5
    yield "saturating", 1 + 9 * (1 - np.exp(-(members @ (rng.gamma(1.0, 1.2, players) + 0.05)))), 0.3
    yield "best member", 5 * np.where(members, rng.random(players), 0).max(axis=1), 0.3
    quality = np.clip(rng.normal(0.95, 0.05, players), 0, 1)
    quality[rng.permutation(players)[:2]] = 0.25, 0.5
    size = members.sum(axis=1)
    ordered = np.sort(np.where(members == 1, quality, -1), axis=1)[:, ::-1]
    second = np.where(size > 1, ordered[:, 1], ordered[:, 0])
    mean = members @ quality / np.maximum(size, 1)
    good = 1 + 9 * (0.4 * ordered[:, 0] + 0.3 * second + 0.3 * mean)
    yield "two of them poor", np.where(size > 0, good, 1.1), 0.3


def codes(masks: np.ndarray) -> np.ndarray:
    """Coalitions as numbers: bit i is contributor i."""
    return np.asarray(masks, dtype=np.int64) @ (1 << np.arange(np.shape(masks)[-1]))


if __name__ == "__main__":
    main()

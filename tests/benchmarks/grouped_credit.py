"""Credit of many contributors by groups, against their exact Shapley values.

python -m tests.benchmarks.grouped_credit [--draws 10]

Coalitions of groups are measured with noise, and members divide the credit of their group by a cheap measure of their
worth, which has noise, too. Games: worths that add up; members of a group who substitute each other (the square root of
the worth in a group); and works that make all smaller ones superfluous (the airport game), where the division by worth
has a bias. Error is the money that goes to others than by exact values, as a part of the pool; coverage is that of 95%
intervals. The last rows are of a million people, in processor seconds.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.grouped import grouped_shapley
from royalty.models.valuation.semivalues import exact_shapley
from royalty.models.valuation.shapley import estimate_shapley
from tests.models.games import airport

MEMBERS = 12
"""In a group; the exact values of so many substitutes take 4,096 coalitions."""
UTILITY_NOISE, PART_NOISE = 0.02, 0.2
"""Standard deviations of a measured utility, relative to that of everybody, and of a cheap measure, relative to it."""


@dataclass(frozen=True)
class Grouped:
    """A game of members in groups.

    Attributes:
        utility: of coalitions of groups, from bool `(m, groups)`.
        exact: Shapley values of the members, `(n,)`.
        worth: what the cheap measure measures, `(n,)`.
    """

    name: str
    groups: np.ndarray
    utility: Callable[[np.ndarray], np.ndarray]
    exact: np.ndarray
    worth: np.ndarray


def adding(groups: np.ndarray, worth: np.ndarray) -> Grouped:
    sums = np.bincount(groups, worth)
    return Grouped("worths add up", groups, lambda masks: masks @ sums, worth, worth)


def substitutes(groups: np.ndarray, worth: np.ndarray) -> Grouped:
    roots, exact = np.sqrt(np.bincount(groups, worth)), np.empty(len(worth))
    for group in range(groups.max() + 1):
        own = worth[groups == group]
        exact[groups == group] = exact_shapley(lambda masks, own=own: np.sqrt(masks @ own), len(own))
    return Grouped("substitutes in a group", groups, lambda masks: masks @ roots, exact, worth)


def superfluous(groups: np.ndarray, worth: np.ndarray) -> Grouped:
    largest = np.zeros(groups.max() + 1)
    np.maximum.at(largest, groups, worth)
    game = airport(worth)
    return Grouped("airport", groups, lambda masks: np.where(masks, largest, 0).max(axis=1), game.shapley, worth)


def drawn(game: Grouped, coalitions: int, seed: int) -> tuple[float, float]:
    """Part of the pool that goes to others than by exact values, and coverage of the intervals."""
    draw, n_groups = np.random.default_rng(seed), game.groups.max() + 1
    masks = sample_coalitions(n_groups, coalitions, seed=seed)
    whole = float(game.utility(np.ones((1, n_groups), bool))[0])
    measured = game.utility(masks) + draw.normal(0, UTILITY_NOISE * whole, len(masks))
    credit = estimate_shapley(masks, measured, 0.0, whole, seed=seed)
    error = PART_NOISE * game.worth
    parts = np.maximum(game.worth + draw.normal(0, error), 0)
    found = grouped_shapley(credit, game.groups, parts, parts_stderr=error)
    covered = (found.ci_low <= game.exact) & (game.exact <= found.ci_high)
    return float(np.abs(found.values - game.exact).sum() / 2 / whole), float(covered.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    draws = parser.parse_args().draws
    print(f"{'game':<24}{'people':>10}{'groups':>8}{'coalitions':>12}{'error':>9}{'coverage':>10}")
    for make in (adding, substitutes, superfluous):
        for n_groups, coalitions in ((10, 40), (30, 120), (100, 400)):
            groups = np.repeat(np.arange(n_groups), MEMBERS)
            worth = np.random.default_rng(0).uniform(1, 3, len(groups))
            game = make(groups, worth)
            rows = np.array([drawn(game, coalitions, seed) for seed in range(draws)])
            error, coverage = rows.mean(axis=0)
            print(f"{game.name:<24}{len(groups):>10,}{n_groups:>8}{coalitions:>12}{error:>9.1%}{coverage:>10.1%}")
    groups = np.arange(1_000_000) % 100
    game = adding(groups, np.random.default_rng(0).uniform(1, 3, len(groups)))
    began = time.process_time()
    error, coverage = drawn(game, 400, 0)
    seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{game.name:<24}{len(groups):>10,}{100:>8}{400:>12}{error:>9.1%}{coverage:>10.1%}")
    print(f"a million people: {seconds:.1f} processor seconds with the estimate of the groups, {peak:,.0f} MiB")


if __name__ == "__main__":
    main()

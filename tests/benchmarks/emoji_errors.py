"""Errors of every method against the Shapley values of six vendors of emoji, all of whose coalitions were retrained.

python -m tests.benchmarks.emoji_errors FOLDER [--fresh SEED]

Reads what `emoji_vendors`, which also says what was decided before the run, kept in FOLDER.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from royalty.models.base.choices import Estimator
from royalty.models.generators.training import UNLEARNING
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.multifidelity import Utilities, choose_retrained, multifidelity_shapley
from royalty.models.valuation.semivalues import exact_shapley
from royalty.models.valuation.shapley import estimate_shapley

TRUTH, FRESH = (0, 1), 2
"""Training seeds behind the truth, and the seed of what is estimated from retrained models."""

BUDGETS, DRAWS = (12, 20, 30, 62), 20
BOOTSTRAP = 1000
CHEAP = ("sparsified", "pooled", "amortized", *UNLEARNING)
SCALED, RETRAINED = (6, 12), (9, 12, 20, 30)
"""Retrained coalitions behind a slope, and behind a correction, which takes at least 9."""


@dataclass(frozen=True)
class Game:
    """Utilities of all coalitions by one method and seed.

    Attributes:
        utilities, seconds: `(2^n,)`, by code, whose bits are the members; NaN where nothing was trained.
    """

    utilities: np.ndarray
    seconds: np.ndarray

    @property
    def players(self) -> int:
        return int(np.log2(len(self.utilities)))

    @property
    def missing(self) -> int:
        return int(np.isnan(self.utilities).sum())

    def at(self, masks: np.ndarray) -> np.ndarray:
        return self.utilities[codes(masks)]

    def fidelity(self, masks: np.ndarray) -> Utilities:
        return Utilities(masks, self.at(masks), float(self.utilities[0]), float(self.utilities[-1]))

    def cost(self, masks: np.ndarray) -> float:
        """Processor seconds of these coalitions and of everybody."""
        return float(self.seconds[codes(masks)].sum() + self.seconds[-1])


@dataclass(frozen=True)
class Row:
    """A method's mean error in units of the spread of the truth, its mean rank agreement, and processor seconds.

    `margin` is half the width of the 95% interval of the mean error over draws of coalitions; 0 for a single one.
    """

    method: str
    trained: int
    seconds: float
    error: float
    margin: float
    ranks: float


def codes(masks: np.ndarray) -> np.ndarray:
    found: np.ndarray = (masks.astype(int) << np.arange(masks.shape[1])).sum(axis=1)
    return found


def read_games(folder: Path) -> dict[tuple[str, int], Game]:
    games: dict[tuple[str, int], Game] = {}
    for line in (folder / "utilities.jsonl").read_text().splitlines():
        row = json.loads(line)
        count = 2 ** len(row["mask"])
        game = games.setdefault((row["method"], row["seed"]), Game(np.full(count, np.nan), np.zeros(count)))
        code = int(row["mask"][::-1], 2)
        game.utilities[code], game.seconds[code] = row["utility"], row["seconds"]
    return games


def shapley_of(table: np.ndarray) -> np.ndarray:
    return exact_shapley(lambda masks: table[codes(masks)], int(np.log2(len(table))))


def compared(method: str, trained: int, truth: np.ndarray, found: Sequence[tuple[np.ndarray, float]]) -> Row:
    """Mean error and agreement over draws.

    Args:
        found: credit and processor seconds of each draw.
    """
    centred = truth - truth.mean()
    errors = [np.sqrt(np.mean((credit - credit.mean() - centred) ** 2)) / truth.std() for credit, _ in found]
    ranks = [spearmanr(credit, truth).statistic for credit, _ in found]
    seconds = float(np.mean([cost for _, cost in found]))
    margin = 1.96 * np.std(errors, ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else 0.0
    return Row(method, trained, seconds, float(np.mean(errors)), float(margin), float(np.mean(ranks)))


def estimated(game: Game, count: int, draw: int, estimator: Estimator = "auto") -> tuple[np.ndarray, float]:
    masks = sample_coalitions(game.players, count, seed=draw)
    found = estimate_shapley(masks, game.at(masks), game.utilities[0], game.utilities[-1], estimator=estimator)
    return found.values, game.cost(masks)


def corrected(cheap: Game, retrained: Game, count: int, draw: int) -> tuple[np.ndarray, float]:
    """Credit from all cheap coalitions and some retrained ones."""
    masks = sample_coalitions(cheap.players, 62, seed=draw)
    few = masks[choose_retrained(masks, count, seed=draw)]
    found = multifidelity_shapley(cheap.fidelity(masks), retrained.fidelity(few), scaled=True)
    return found.corrected.values, cheap.cost(masks) + retrained.cost(few)


def rescaled(cheap: Game, retrained: Game, count: int, draw: int) -> tuple[np.ndarray, float]:
    """Credit from all cheap coalitions, times the slope of some retrained utilities on cheap ones."""
    masks = sample_coalitions(cheap.players, 62, seed=draw)
    few = masks[choose_retrained(masks, count, seed=draw)]
    credit, seconds = estimated(cheap, 62, draw)
    slope = np.cov(cheap.at(few), retrained.at(few), ddof=1)[0, 1] / cheap.at(few).var(ddof=1)
    return slope * credit, seconds + retrained.cost(few)


def left_out(game: Game) -> tuple[np.ndarray, float]:
    everybody = len(game.utilities) - 1
    without = everybody - (1 << np.arange(game.players))
    values: np.ndarray = game.utilities[everybody] - game.utilities[without]
    return values, float(game.seconds[[everybody, *without]].sum())


def rows(folder: Path, games: dict[tuple[str, int], Game], truth: np.ndarray, seed_of_few: int) -> Iterator[Row]:
    complete = {name: game for name, game in games.items() if not game.missing}
    for (method, seed), game in complete.items():
        if method == "retrain" and seed != seed_of_few:
            continue
        name = f"Shapley, {method}, seed {seed}"
        for count in BUDGETS:
            yield compared(name, count, truth, [estimated(game, count, draw) for draw in range(DRAWS)])
        plain: Callable[[int], tuple[np.ndarray, float]] = partial(estimated, game, 20, estimator="constrained")
        yield compared(f"{name}, eq. 5 alone", 20, truth, [plain(draw) for draw in range(DRAWS)])
        yield compared(f"leave-one-out, {method}, seed {seed}", 6, truth, [left_out(game)])
    fresh = complete.get(("retrain", seed_of_few))
    for (method, seed), cheap in complete.items():
        if method in CHEAP and fresh is not None:
            for how, few, counts in (("scaled", rescaled, SCALED), ("corrected", corrected, RETRAINED)):
                for count in counts:
                    draws = [few(cheap, fresh, count, draw) for draw in range(DRAWS)]
                    yield compared(f"{method}, seed {seed}, {how} by retrained", count, truth, draws)
    if (folder / "scores.json").exists():
        for name, scored in json.loads((folder / "scores.json").read_text()).items():
            values = np.array(scored["values"])
            centred = values - values.mean()
            scale = centred @ truth / max(centred @ centred, 1e-300)  # the one that favours it most
            row = compared(name, 0, truth, [(scale * centred, scored["seconds"])])
            yield Row(row.method, 0, row.seconds, row.error, 0.0, float(spearmanr(values, truth).statistic))


def agreement(game: Game, retrained: np.ndarray) -> tuple[float, float, float]:
    """Spearman's correlation with retrained utilities, and the ends of its 95% bootstrap interval over coalitions."""
    rows = np.arange(1, len(retrained))  # nobody's models are random
    rng = np.random.default_rng(0)
    resampled = [rng.choice(rows, len(rows)) for _ in range(BOOTSTRAP)]
    found = [spearmanr(game.utilities[some], retrained[some]).statistic for some in (rows, *resampled)]
    low, high = np.quantile(found[1:], [0.025, 0.975])
    return float(found[0]), float(low), float(high)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--fresh",
        type=int,
        default=FRESH,
        help="seed of the few retrained models, which the truth leaves out if it can",
    )
    chosen = parser.parse_args(arguments)
    folder, fresh = chosen.folder, chosen.fresh
    games = read_games(folder)
    for name, game in games.items():
        print(f"{name[0]}, seed {name[1]}: {len(game.utilities) - game.missing} of {len(game.utilities)} models")
    complete = {key for key, game in games.items() if not game.missing}
    seeds = [seed for seed in TRUTH if ("retrain", seed) in complete]
    behind = [games["retrain", seed] for seed in seeds if seed != fresh or len(seeds) == 1]
    if not behind:
        raise SystemExit("the truth takes all coalitions retrained with a seed; run emoji_vendors until then")
    utilities = np.mean([game.utilities for game in behind], axis=0)
    truth = shapley_of(utilities)
    print(f"truth, from {len(behind)} seed(s): {np.round(truth, 4).tolist()}, spread {truth.std():.4g}")
    if fresh in seeds and len(seeds) == 1:
        print("the few retrained models are those behind the truth: errors leave out the noise of their training")
    if len(behind) == 2:
        first, second = (shapley_of(game.utilities) for game in behind)
        noise = np.std(first - second) / 2
        print(f"standard error of the truth by its two seeds: {noise / truth.std():.0%} of the spread")
    for (method, seed), game in games.items():
        if not game.missing and (method != "retrain" or seed == fresh):
            ranks, low, high = agreement(game, utilities)
            print(f"utilities of {method}, seed {seed}, rank as retrained ones: {ranks:.2f} ({low:.2f} to {high:.2f})")
    print(f"{'method':47}{'coalitions':>11}{'seconds':>9}{'error':>8}{'±':>6}{'ranks':>7}")
    for row in sorted(rows(folder, games, truth, fresh), key=lambda row: row.error):
        print(f"{row.method:47}{row.trained:11}{row.seconds:9.0f}{row.error:8.0%}{row.margin:6.0%}{row.ranks:7.2f}")


if __name__ == "__main__":
    main()

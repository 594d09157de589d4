"""How often the intervals of faithful group Shapley values hold the truth, on games of images with known answers.

    python -m tests.benchmarks.image_set_coverage [--games 60] [--noise 0.01] [--exact-ends]

Eight contributors have 30 images each. Images add up; or they saturate eight topics; or every image is in about six
triples that add something when they are together. The columns are those of `shapley_coverage`; spreads are of
contributors' credit.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from royalty.models.valuation.faithful import faithful_shapley
from royalty.models.valuation.image_sets import sample_image_sets
from tests.benchmarks.shapley_coverage import HEADER, Trial, row
from tests.models.games import Game, additive, noisy, random_saturating, random_three_way

CONTRIBUTORS, IMAGES = 8, 30
SETS = (20, 32, 64, 128, 400)


def games(seed: int) -> list[Game]:
    """Games of the same images in which contributors differ in worth."""
    generator = np.random.default_rng(seed)
    worth = generator.exponential(size=CONTRIBUTORS).repeat(IMAGES)
    images = CONTRIBUTORS * IMAGES
    return [
        additive(worth * generator.gamma(1, size=images)),
        random_saturating(images, seed),
        random_three_way(images, seed),
    ]


def trial(game: Game, seed: int, count: int, noise: float, *, noisy_ends: bool) -> Trial:
    owner = np.arange(CONTRIBUTORS).repeat(IMAGES)
    truth = np.bincount(owner, game.shapley)
    spread = float(truth.std())
    utility = noisy(game.utility, len(owner), noise * spread, seed, ends=noisy_ends)
    masks = np.zeros((count, len(owner)), bool)
    for mask, chosen in zip(masks, sample_image_sets(len(owner), count, seed=seed), strict=True):
        mask[chosen] = True
    counts = masks.reshape(count, CONTRIBUTORS, IMAGES).sum(axis=2)
    null, grand = utility(np.repeat([[False], [True]], len(owner), axis=1))
    found = faithful_shapley(counts, np.full(CONTRIBUTORS, IMAGES), utility(masks), float(null), float(grand))
    parts = (truth, found.values, found.stderr, found.ci_low, found.ci_high)
    return Trial(game.name, *(part / spread for part in parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=60, help="of each kind, for each number of sets")
    parser.add_argument("--noise", type=float, default=0.01, help="in spreads of contributors' credit")
    parser.add_argument("--exact-ends", action="store_true", help="no noise for no image and all")
    chosen = parser.parse_args()
    started = time.perf_counter()
    print(HEADER)
    for count in SETS:
        trials = [
            trial(game, seed, count, chosen.noise, noisy_ends=not chosen.exact_ends)
            for seed in range(7000, 7000 + chosen.games)
            for game in games(seed)
        ]
        for kind in dict.fromkeys(each.kind for each in trials):
            print(row(f"{kind}, {count}", (each for each in trials if each.kind == kind)))
    print(f"{time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()

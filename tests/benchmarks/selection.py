"""Accuracy of a network trained on what `select_items` selects, against the most valuable items and random ones.

The cases are those of LAVA's appendices B.3 to B.5: near duplication, rebalancing, and reduction, of a clean set and of
one with wrong labels, on scikit-learn's digits.

python -m tests.benchmarks.selection [--budgets 50 100 200] [--seeds 5]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import get_args

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from royalty.models.valuation.selection import SelectionMethod, select_items

Set = tuple[np.ndarray, np.ndarray]
TRAIN, VALIDATION = 900, 300
HIDDEN = 64


def clean(train: Set, _generator: np.random.Generator) -> Set:
    return train


def near_duplicated(train: Set, generator: np.random.Generator) -> Set:
    """A tenth of the items is repeated ten times, a little changed."""
    rows = generator.choice(len(train[1]), len(train[1]) // 10, replace=False).repeat(10)
    noise = 0.02 * generator.normal(size=(len(rows), train[0].shape[1]))
    return np.concatenate([train[0], train[0][rows] + noise]), np.concatenate([train[1], train[1][rows]])


def unbalanced(train: Set, generator: np.random.Generator) -> Set:
    """Half of the classes keep a tenth of their items."""
    kept = (train[1] % 2 == 0) | (generator.random(len(train[1])) < 0.1)
    return train[0][kept], train[1][kept]


def mislabelled(train: Set, generator: np.random.Generator) -> Set:
    """A quarter of the labels is wrong."""
    wrong = generator.random(len(train[1])) < 0.25
    return train[0], np.where(wrong, (train[1] + generator.integers(1, 10, len(train[1]))) % 10, train[1])


CASES: dict[str, Callable[[Set, np.random.Generator], Set]] = {
    "clean": clean,
    "near duplicated": near_duplicated,
    "unbalanced": unbalanced,
    "mislabelled": mislabelled,
}


def accuracy(train: Set, test: Set, seed: int) -> float:
    network = MLPClassifier(HIDDEN, max_iter=150, random_state=seed, n_iter_no_change=150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is the budget of training
        network.fit(*train)
    return float(network.score(*test))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    features, labels = load_digits(return_X_y=True)
    features = features / 16
    methods = get_args(SelectionMethod)
    print("Accuracy on held-out digits, mean and standard deviation over divisions of the digits and networks\n")
    print(f"{'':<18}{'budget':>7}" + "".join(f"{method:>18}" for method in methods))
    for case, make in CASES.items():
        for budget in chosen.budgets:
            scores: dict[str, list[float]] = {method: [] for method in methods}
            for seed in range(chosen.seeds):
                generator = np.random.default_rng(seed)
                order = generator.permutation(len(labels))
                rows, val, test = np.split(order, [TRAIN, TRAIN + VALIDATION])
                train = make((features[rows], labels[rows]), generator)
                for method in methods:
                    selected = select_items(
                        *train, features[val], labels[val], budget, method=method, label_weight=1.5, seed=seed
                    ).rows
                    part = train[0][selected], train[1][selected]
                    scores[method].append(accuracy(part, (features[test], labels[test]), seed))
            cells = "".join(f"{np.mean(score):>10.1%} ± {np.std(score, ddof=1):.1%}" for score in scores.values())
            print(f"{case:<18}{budget:>7}{cells}", flush=True)


if __name__ == "__main__":
    main()

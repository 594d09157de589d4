"""Whether intervals of credit hold on real letters: a few coalitions against nearly all that tell designers apart.

python -m tests.benchmarks.letters_coverage measure FOLDER
python -m tests.benchmarks.letters_coverage judge FOLDER

The first trains and measures 470 coalitions of the twelve designers of the preset `letters`, in a home of its own:
every designer alone, every two of them, the complements of these, and 45 of each size between, each with its
complement. It can be stopped and continued. The second needs a minute.

Decided before the run:
- The truth: the Shapley value is the mean over sizes of what a designer's presence changes in mean utility, of every
  coalition of sizes 1, 2, 10 and 11, and of random ones between, where the mean is by regression on who is in them.
  Its standard error is that of drawing these, by the bootstrap of pairs.
- An estimate has 62 coalitions, as in the preset: the sizes are drawn as a run draws them, and the coalitions from
  those that were measured. There are 40 estimates.
- Compared: sizes `border` of the preset, `leverage` and `shapley`; and the estimators `auto`, `stratified`, `mixed`
  and `game`: share of 95% intervals that hold the truth, root mean square error, and mean standard error.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import numpy as np

from royalty.models.base.choices import Estimator, Sizes
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.shapley import estimate_shapley

DESIGNERS, BETWEEN, EACH = 12, (3, 4, 5, 6), 45
"""Sizes between, each with its complement, and coalitions of each size."""
DRAWN, ESTIMATES, BOOTSTRAP = 62, 40, 400
COMPARED: tuple[Estimator, ...] = ("auto", "stratified", "mixed", "game")


def pool() -> np.ndarray:
    """The coalitions, each followed by its complement, `(coalitions, designers)`."""
    rng, first = np.random.default_rng(2612), list[np.ndarray]()
    for size in (1, 2):
        first += [_mask(members) for members in combinations(range(DESIGNERS), size)]
    for size in BETWEEN:
        pairs = EACH if size * 2 < DESIGNERS else EACH // 2
        seen: set[bytes] = set()
        while len(seen) < pairs:
            mask = _mask(rng.choice(DESIGNERS, size, replace=False))
            # Of two halves, one is listed and the other is its complement.
            if size * 2 < DESIGNERS or mask[0]:
                if mask.tobytes() not in seen:
                    first.append(mask)
                seen.add(mask.tobytes())
    return np.stack([part for mask in first for part in (mask, ~mask)])


def _mask(members: object) -> np.ndarray:
    mask = np.zeros(DESIGNERS, dtype=bool)
    mask[np.asarray(members, dtype=int)] = True
    return mask


def measure(folder: Path) -> None:
    """Train and measure all coalitions of the pool, and write their utilities."""
    os.environ["ROYALTY_HOME"] = str(folder / "home")
    import royalty
    from royalty.infra.settings import settings
    from royalty.infra.workspace import open_workspace

    masks = pool()
    config = royalty.load_config(preset="letters", name="letters-pool").model_dump(mode="json")
    config["coalitions"]["count"] = len(masks)
    config["credit"]["estimator"] = "mixed"  # what is estimated in this run is not used
    with patch("royalty.tasks.credit.coalitions.sample_coalitions", lambda *_, **__: masks):
        result = royalty.run(config, accept_uncertainty=True)
    names = sorted(row["contributor"] for row in result.rows)
    runs = open_workspace(settings()).runs
    trained = {row.key: row for row in runs.all_coalitions() if row.failure is None and row.method == "sparsified"}
    with runs.engine.connect() as connection:
        measured = connection.exec_driver_sql("SELECT coalition, utility FROM measurements").all()
    rows = [
        {"members": sorted(trained[key].members), "utility": utility} for key, utility in measured if key in trained
    ]
    (folder / "utilities.json").write_text(json.dumps({"names": names, "rows": rows}))


class Pool:
    """What was measured: utility by coalition, and of nobody and everybody."""

    def __init__(self, folder: Path) -> None:
        kept = json.loads((folder / "utilities.json").read_text())
        place = {name: i for i, name in enumerate(kept["names"])}
        utilities = {_mask([place[name] for name in row["members"]]).tobytes(): row["utility"] for row in kept["rows"]}
        self.masks = pool()
        self.utilities = np.array([utilities[mask.tobytes()] for mask in self.masks])
        self.null = utilities[np.zeros(DESIGNERS, dtype=bool).tobytes()]
        self.grand = utilities[np.ones(DESIGNERS, dtype=bool).tobytes()]
        sizes = self.masks.sum(axis=1)
        self.pairs = {size: np.flatnonzero(sizes[::2] == size) for size in (1, 2, *BETWEEN)}
        """Rows of pairs by the smaller size: pair p is the coalitions 2 p and 2 p + 1."""

    def truth(self, pairs: dict[int, np.ndarray]) -> np.ndarray:
        """Shapley values by the mean over sizes, from these pairs."""
        chosen = np.concatenate([np.stack([2 * part, 2 * part + 1]).ravel() for part in pairs.values()])
        masks, utilities = self.masks[chosen], self.utilities[chosen]
        sizes = masks.sum(axis=1)
        present, absent = np.zeros((2, DESIGNERS + 1, DESIGNERS))
        present[-1], absent[0] = self.grand, self.null
        for size in range(1, DESIGNERS):
            # Residuals of a size have no mean among those with a designer, nor without: means by this fit have no bias
            # by interactions, and are not blurred by who else is in random coalitions.
            effects = np.linalg.lstsq(masks[sizes == size].astype(float), utilities[sizes == size])[0]
            others = (effects.sum() - effects) / (DESIGNERS - 1)
            present[size], absent[size] = effects + (size - 1) * others, size * others
        values: np.ndarray = (present[1:] - absent[:-1]).mean(axis=0)
        return values

    def bootstrapped(self) -> Iterator[np.ndarray]:
        """The truth with the sizes between drawn again, `BOOTSTRAP` times."""
        rng = np.random.default_rng(0)
        for _ in range(BOOTSTRAP):
            again = {size: rng.choice(rows, len(rows)) for size, rows in self.pairs.items() if size in BETWEEN}
            yield self.truth({**self.pairs, **again})

    def drawn(self, sizes: Sizes, seed: int) -> np.ndarray:
        """Rows of as many pairs of each size as a run draws."""
        rng = np.random.default_rng(seed)
        drawn = sample_coalitions(DESIGNERS, DRAWN, seed=seed, sizes=sizes, paired=True).sum(axis=1)
        smaller = np.minimum(drawn, DESIGNERS - drawn)
        pairs = [rng.choice(rows, (smaller == size).sum() // 2, replace=False) for size, rows in self.pairs.items()]
        chosen = np.concatenate(pairs)
        return np.stack([2 * chosen, 2 * chosen + 1]).ravel()


def judge(folder: Path) -> None:
    """Print how often intervals hold the truth."""
    measured = Pool(folder)
    truth = measured.truth(measured.pairs)
    errors = np.std(list(measured.bootstrapped()), axis=0)
    print(
        f"spread of true credit {truth.std():.3f}, standard error of it {errors.mean():.3f}, at most {errors.max():.3f}"
    )
    counts = measured.masks.sum(axis=1)
    spreads = ", ".join(f"{size}: {measured.utilities[counts == size].std():.2f}" for size in range(1, DESIGNERS))
    print(f"standard deviation of utilities by size: {spreads}")
    print(f"{'sizes':10}{'estimator':12}{'held':>14}{'error':>9}{'stderr':>9}{'ratio':>8}   chosen")
    for sizes, estimator in product(get_args(Sizes), COMPARED):
        held, errors, stderr, used = list[float](), list[float](), list[float](), Counter[str]()
        for seed in range(ESTIMATES):
            rows = measured.drawn(sizes, seed)
            estimate = estimate_shapley(
                measured.masks[rows], measured.utilities[rows], measured.null, measured.grand, estimator=estimator
            )
            held.append(((estimate.ci_low <= truth) & (truth <= estimate.ci_high)).mean())
            errors.append(np.square(estimate.values - truth).mean())
            stderr.append(np.square(estimate.stderr).mean())
            used[str(estimate.diagnostics["estimator"])] += 1
        error, said = np.sqrt(np.mean(errors)), np.sqrt(np.mean(stderr))
        share = f"{np.mean(held):.1%} ± {np.std(held, ddof=1) / np.sqrt(ESTIMATES):.1%}"
        print(
            f"{sizes:10}{estimator:12}{share:>14}{error:>9.3f}{said:>9.3f}{error / said:>8.2f}   {dict(used)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["measure", "judge"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    {"measure": measure, "judge": judge}[options.step](options.folder)


if __name__ == "__main__":
    main()

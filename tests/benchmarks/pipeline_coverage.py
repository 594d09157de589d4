"""How often the credit of an independent rerun lies in the interval that is stated for it, on the embedded digits.

python -m tests.benchmarks.pipeline_coverage measure FOLDER [--pipelines 32]
python -m tests.benchmarks.pipeline_coverage judge FOLDER

The first trains a run of many pipelines, in a home of its own: each has its classifier, base model, pruned copy and
coalitions, from seeds of its own, on the same images. It can be stopped and continued. The second takes seconds.

Decided before anything was judged:
- Runs of one, two and three pipelines are consecutive pipelines, each used once. Of every ordered pair of runs, the
  first states intervals and the second is the independent rerun.
- Compared: `rerun_low` and `rerun_high` of two and of three pipelines; the control, intervals of one pipeline, which
  know the noise of its coalitions only, widened by sqrt(2) as for a rerun; and the intervals of credit, which
  should hold the mean of all pipelines of other runs.
- Standard errors are by the jackknife over runs, because each run is in many pairs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from royalty.models.valuation.pipelines import combine_pipelines
from royalty.models.valuation.shapley import ShapleyEstimate

CONFIG = {
    "data": {"source": "digits", "contributors": 5, "concentration": 1.0},
    "classifier": {"steps": 150},
    "generator": {"steps": 150, "batch_size": 32, "block_channels": [8, 16]},
    "sampling": {"images": 128, "steps": 3},
    "pruning": {"recovery_steps": 20},
    "coalitions": {"count": 20, "finetune_steps": 15, "batch_size": 32},
    "matching": {"encoder": "pixels", "rerank": "none", "images": 16},
    "payout": {"limits": {"stderr": None}},
}

Interval = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Credit, and the ends of its interval, `(contributors,)` each."""


def measure(folder: Path, pipelines: int) -> None:
    """Train and measure the pipelines, and keep the credit of each."""
    os.environ["ROYALTY_HOME"] = str(folder / "home")
    import royalty

    settings = {**CONFIG, "coalitions": {**CONFIG["coalitions"], "pipelines": pipelines}}
    result = royalty.run({"name": f"pipelines-{pipelines}", **settings}, show_progress=True)
    pd.read_parquet(Path(result.folder) / "pipelines.parquet").to_csv(folder / "pipelines.csv", index=False)


def judge(folder: Path) -> None:
    """Print how often intervals hold an independent rerun."""
    table = pd.read_csv(folder / "pipelines.csv")
    estimates = [_estimate(rows) for _, rows in table.groupby("pipeline")]
    whole = combine_pipelines(estimates)
    print(
        f"{len(estimates)} pipelines, {table['contributor'].nunique()} contributors: spread of credit "
        f"{whole.credit.values.std():.3f}, deviation between pipelines {whole.deviation:.3f}, noise {whole.noise:.3f}"
    )
    print(f"{'pipelines':>10}{'runs':>6}  {'rerun':>14}{'width':>8}  {'mean of others':>16}")
    for size in (1, 2, 3):
        runs = [estimates[start : start + size] for start in range(0, len(estimates) - size + 1, size)]
        stated = [_stated(run) for run in runs]
        again = [np.mean([each.values for each in run], axis=0) for run in runs]
        others = [
            np.mean([each.values for number, run in enumerate(runs) if number != own for each in run], axis=0)
            for own in range(len(runs))
        ]

        def rerun(kept: Sequence[int], stated: Sequence = stated, again: Sequence = again) -> float:
            return float(np.mean([_holds(stated[a][1], again[b]) for a in kept for b in kept if a != b]))

        def mean(kept: Sequence[int], stated: Sequence = stated, others: Sequence = others) -> float:
            return float(np.mean([_holds(stated[a][0], others[a]) for a in kept]))

        width = np.mean([each[1][2] - each[1][1] for each in stated])
        print(f"{size:>10}{len(runs):>6}  {_share(rerun, len(runs)):>14}{width:>8.3f}  {_share(mean, len(runs)):>16}")


def _estimate(rows: pd.DataFrame) -> ShapleyEstimate:
    values, stderr, low, high = (rows[name].to_numpy() for name in ("credit", "stderr", "ci_low", "ci_high"))
    return ShapleyEstimate(values, stderr, low, high, 22, {"estimator": ""})


def _stated(run: Sequence[ShapleyEstimate]) -> tuple[Interval, Interval]:
    """The interval for the credit, and that for a rerun."""
    if len(run) > 1:
        combined = combine_pipelines(run)
        credit = combined.credit
        return (credit.values, credit.ci_low, credit.ci_high), (credit.values, combined.rerun_low, combined.rerun_high)
    (one,) = run
    reach = np.sqrt(2) * (one.ci_high - one.values)
    return (one.values, one.ci_low, one.ci_high), (one.values, one.values - reach, one.values + reach)


def _holds(interval: Interval, credit: np.ndarray) -> float:
    _, low, high = interval
    return float(((low <= credit) & (credit <= high)).mean())


def _share(score: Callable[[Sequence[int]], float], runs: int) -> str:
    """A share over all runs, with its standard error by the jackknife over them."""
    left_out = [score([other for other in range(runs) if other != run]) for run in range(runs)]
    error = np.sqrt((runs - 1) / runs * np.square(np.array(left_out) - np.mean(left_out)).sum())
    return f"{score(range(runs)):.1%} ± {error:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["measure", "judge"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pipelines", type=int, default=32)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.step == "measure":
        measure(options.folder, options.pipelines)
    else:
        judge(options.folder)


if __name__ == "__main__":
    main()

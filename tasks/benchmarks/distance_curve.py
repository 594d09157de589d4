"""Measure distance and accuracy as more and more items are corrupted, and how the two are correlated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from prefect.cache_policies import NO_CACHE
from scipy.stats import spearmanr

from royalty.infra.processes.workers import Deferred
from royalty.models.base.choices import CorruptionName
from royalty.models.base.registry import modules_of
from royalty.models.judging.draws import over_draws
from royalty.tasks.benchmarks.detection_stages import CURVE, CleanSides, CurveInputs, CurveMeasured, DetectInputs
from royalty.tasks.config.detection import DetectionConfig, DistanceCurve
from royalty.tasks.stages.running import call_in_worker, run_in_worker
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.benchmarks import distance_curve_worker
else:
    distance_curve_worker = Deferred("royalty.tasks.benchmarks.distance_curve_worker")


@task(name="check amounts", cache_policy=NO_CACHE)
def check_amounts(config: DetectionConfig, curve: DistanceCurve, sides: CleanSides) -> None:
    """Check, before any work, that every amount can be planted."""
    inputs = [_inputs(*place, config, curve, sides) for place in product(config.by_fraction, range(config.draws))]
    call_in_worker(distance_curve_worker.check, inputs, "", title="Check amounts", total=len(inputs))


@task(name="measure distance and accuracy", cache_policy=NO_CACHE)
def measure_curve(
    corruption: CorruptionName, draw: int, config: DetectionConfig, curve: DistanceCurve, sides: CleanSides
) -> CurveMeasured:
    """Measure the distance from validation, and the accuracy, by the amount of one corruption."""
    return run_in_worker(
        CURVE,
        _inputs(corruption, draw, config, curve, sides),
        distance_curve_worker.measure,
        title=f"{corruption}, draw {draw + 1}, by amount",
        total=len(curve.amounts),
        also=modules_of(config.encoding.entries),
    )


def curve_rows(measured: Sequence[CurveMeasured]) -> list[TableRow]:
    """The table of distances: one row for each corruption, draw, amount and classifier."""
    return [row for stage in measured for row in stage.outputs.rows]


def correlation_of(rows: Sequence[TableRow]) -> list[TableRow]:
    """Rank correlation of distance and accuracy over the sets of a draw, averaged over draws, with its 95% interval.

    One row for each classifier and corruption, and for the sets of all corruptions (`all`). Draws in which the distance
    or the accuracy does not vary have no correlation.
    """
    found: list[TableRow] = []
    corruptions = list(dict.fromkeys(row["corruption"] for row in rows))
    for classifier, corruption in product(
        dict.fromkeys(row["classifier"] for row in rows), [*corruptions, *(["all"] if len(corruptions) > 1 else [])]
    ):
        drawn: dict[int, dict[tuple[str, float], tuple[float, float]]] = {}
        for row in rows:
            if row["classifier"] == classifier and corruption in (row["corruption"], "all"):
                # With nothing planted, the set is the same for every corruption.
                place = (row["corruption"] if row["amount"] else "", row["amount"])
                drawn.setdefault(row["draw"], {})[place] = row["distance"], row["accuracy"]
        points = [np.array(list(sets.values())).T for sets in drawn.values()]
        ranks = [float(spearmanr(*pair).statistic) for pair in points if (np.ptp(pair, axis=1) > 0).all()]
        if ranks:
            result = over_draws(ranks)
            low, high = (None if np.isnan(end) else float(np.clip(end, -1, 1)) for end in (result.low, result.high))
            found.append(
                {
                    "classifier": classifier,
                    "corruption": corruption,
                    "draws": len(ranks),
                    "correlation": result.mean,
                    "low": low,
                    "high": high,
                }
            )
    return found


def curve_plot(name: str, rows: Sequence[TableRow]) -> dict[str, bytes]:
    """A PNG by file name: accuracy over distance, both means over draws, by corruption and classifier."""
    from royalty.infra.pages.plots import accuracy_by_distance  # matplotlib takes a second to import

    if not rows:
        return {}
    places: dict[tuple[str, str, float], list[tuple[float, float]]] = {}
    for row in rows:
        place = (row["classifier"], row["corruption"], row["amount"])
        places.setdefault(place, []).append((row["distance"], row["accuracy"]))
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for (classifier, corruption, _), points in places.items():
        distance, accuracy = np.mean(points, axis=0).tolist()
        panels.setdefault(classifier, {}).setdefault(corruption, []).append((distance, accuracy))
    return {"distance.png": accuracy_by_distance(f"{name}: accuracy by distance from validation", panels)}


def _inputs(
    corruption: CorruptionName, draw: int, config: DetectionConfig, curve: DistanceCurve, sides: CleanSides
) -> CurveInputs:
    return CurveInputs(DetectInputs(corruption, config.settings, sides, draw), curve.amounts)

"""Measure how far one set of items is from another, and which contributors make the distance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_distance_config
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.runner import RUNNER
from royalty.flows.transport import read_sides
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.tasks.config.distance import DistanceConfig
from royalty.tasks.items.distance import measure_distance, write_distance
from royalty.tasks.items.valuing import check_solver_installed
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class DistanceResult:
    """The distance of two sets.

    Attributes:
        distance: debiased class-wise transport distance, in units of the features, at least 0; 0 for equal sets.
        chance: distance of two sets of these sizes that the same items are divided into at random; None without one.
        typical: mean distance of an item of one set from an item of the other.
        share: `distance` divided by `typical`; near 1 if the sets have nothing in common.
        items: number of items of the first set.
        contributors: `contributor`, `items` (its fraction of the first set) and `part` (its part in the distance) of
            each contributor, the most distant first; None if the items have no contributors.
        table: digest of the table of parts by item.
        folder: contains `parts.parquet`, and `contributors.csv` if there are contributors.
        diagnostics: diagnostics of the transports.
        notes: sentences on the items of the first set that a reader must know.
    """

    name: str
    distance: float
    chance: float | None
    typical: float
    share: float
    items: int
    contributors: list[dict[str, Any]] | None
    table: str
    folder: str
    mlflow_run: str
    diagnostics: dict[str, Any]
    notes: list[str] = field(default_factory=list)


@flow(name="distance", flow_run_name=named("distance"), task_runner=RUNNER)
@explained
def distance(config: DistanceConfig | dict[str, Any] | str) -> DistanceResult:
    """Measure the distance of two sets, and the part of each item of the first. Finished work is reused.

    Args:
        config: a configuration, the contents of a configuration file, or the path of one.
    """
    config = as_distance_config(config)
    check_home(settings())
    check_weights(config.encoding.entries)
    check_solver_installed(config.solver, "solver")
    sides, notes = read_sides(config.first, config.second, config.encoding, config.seed, config.policy)
    measured = measure_distance(config, sides)
    published = write_distance(config, sides, measured, notes)
    outputs = measured.outputs
    return DistanceResult(
        name=config.name,
        distance=outputs.distance,
        chance=outputs.chance,
        typical=outputs.typical,
        share=outputs.share,
        items=outputs.items,
        contributors=outputs.contributors,
        table=outputs.table,
        folder=published.folder,
        mlflow_run=published.run,
        diagnostics=outputs.diagnostics,
        notes=notes,
    )

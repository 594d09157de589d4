"""Measure the distance of two sets, and publish it with the parts of items and contributors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.workspace import Workspace
from royalty.tasks.config.distance import DistanceConfig
from royalty.tasks.items.distance_stages import MEASURE_DISTANCE, DistanceInputs, DistanceMeasured
from royalty.tasks.items.stages import Sides
from royalty.tasks.items.stored_items import load_values
from royalty.tasks.items.writing import datasets_of, params_of
from royalty.tasks.stages.publishing import (
    Contents,
    Published,
    PublishInputs,
    PublishOutputs,
    PublishStage,
    numbers,
    publish,
)
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.items import distance_worker
else:
    distance_worker = Deferred("royalty.tasks.items.distance_worker")

WRITE_DISTANCE = PublishStage("write-distance", PublishInputs, PublishOutputs)


@task(name="measure distance", cache_policy=NO_CACHE)
def measure_distance(config: DistanceConfig, sides: Sides) -> DistanceMeasured:
    """Measure the distance in one process."""
    inputs = DistanceInputs(config.settings.model_dump(mode="json"), sides)
    return run_in_worker(MEASURE_DISTANCE, inputs, distance_worker.measure, title="Measure distance", total=1)


@task(name="write distance", cache_policy=NO_CACHE)
def write_distance(config: DistanceConfig, sides: Sides, measured: DistanceMeasured, notes: Sequence[str]) -> Published:
    """Publish `parts.parquet`, and `contributors.csv` where the items have contributors.

    Args:
        notes: sentences on the items of the first set.
    """
    outputs = measured.outputs

    def make(space: Workspace) -> Contents:
        return Contents(
            note=" ".join(
                [
                    f"The first set is {outputs.distance:.4g} from the second, {outputs.share:.1%} of the mean "
                    "distance of two of their items. `parts.parquet` has the part of each item; the parts sum to the "
                    "distance.",
                    *notes,
                ]
            ),
            metrics=numbers(
                {"distance": outputs.distance, "chance": outputs.chance, "typical": outputs.typical}
                | outputs.diagnostics
            ),
            tables={} if outputs.contributors is None else {"contributors": pd.DataFrame(outputs.contributors)},
            shown={"parts": load_values(space.artifacts, outputs.table)},
            files={"parts.parquet": space.artifacts.get(outputs.table)},
            datasets=datasets_of(first=sides.train, second=sides.val),
            tags={"royalty.parts": outputs.table},
        )

    inputs = PublishInputs(
        config.name,
        config.name,
        {"distance": measured.key},
        params_of(config.settings, config.encoding, config),
    )
    return publish(WRITE_DISTANCE, inputs, make)

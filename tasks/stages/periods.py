"""When flows, stages and coalitions ran, for the times that MLflow shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from prefect.context import FlowRunContext

from royalty.infra.stores.lineage import Lineage
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord
from royalty.infra.tracking.records import Period
from royalty.tasks.stages.stage import Finished


def flow_started() -> float | None:
    """When the current flow run began, in seconds since the epoch; None outside a flow run."""
    context = FlowRunContext.get()
    return None if context is None else context.start_time.timestamp()


def stage_periods(lineage: Lineage, stages: Collection[Finished[Any, Any]]) -> dict[str, Period]:
    """When each stage was computed, by key. It may have been for an earlier run; the store keeps whole seconds."""
    origins = lineage.origins([stage.key for stage in stages])
    ends = {key: _seconds(origin.created_at) for key, origin in origins.items()}
    seconds = {stage.key: stage.seconds for stage in stages}
    return {key: Period(ended - seconds[key], ended) for key, ended in ends.items()}


def coalition_period(row: CoalitionRecord, measured: Sequence[MeasurementRecord]) -> Period:
    """The time spent on a coalition, up to its last measurement: its part of a training in a stack, and its sampling.

    Between both it may have waited, for the others of its stack or for another run that measured it again.
    """
    ended = max(map(_seconds, (row.created_at, *(record.created_at for record in measured))))
    sampling = sum(record.sample_seconds + record.measure_seconds for record in measured)
    return Period(ended - row.train_seconds - sampling, ended)


def whole_period(periods: Mapping[str, Period]) -> Period:
    """From the first start to the last end."""
    return Period(min(part.started for part in periods.values()), max(part.ended for part in periods.values()))


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()

"""Time spent in the parts of a run: total, and on models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from royalty.infra.pages.durations import duration
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.tasks.stages.stage import Finished


@dataclass(frozen=True)
class Timing:
    """Wall time of a part of a run in seconds, and its time for training, sampling and measuring (`busy`)."""

    part: str
    seconds: float
    busy: float
    reused: bool

    def as_row(self) -> tuple[str, str, str, str]:
        """Cells of the timing table: part, wall time, compute time, and `reused` or ""."""
        if self.reused:
            return self.part, "", "", "reused"
        return self.part, duration(self.seconds), duration(self.busy), ""


def stage_timing(stage: Finished[Any, Any]) -> Timing:
    """Timing of a stage in this run: zero if it was reused."""
    if stage.reused:
        return Timing(stage.name, 0.0, 0.0, reused=True)
    return Timing(stage.name, stage.seconds, stage.busy_seconds, reused=False)


def fan_out_timing(fresh: Mapping[str, Sequence[str]], seconds: float) -> Timing:
    """Timing of the coalitions; `busy` is the time for training and measuring divided by the number of workers.

    Args:
        fresh: keys of the rows that this flow run recorded, by coalition.
        seconds: wall time of the fan-out.
    """
    runs = open_workspace(settings()).runs
    keys = [key for recorded in fresh.values() for key in recorded]
    work = sum(row.train_seconds for row in runs.coalitions(keys).values())
    work += sum(row.sample_seconds + row.measure_seconds for row in runs.measurements(keys).values())
    return Timing("coalitions", seconds, work / settings().workers, reused=not fresh)

"""Where the time of a run went: work on models, and everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from infra.runstore import StageRecord
from infra.settings import settings
from infra.workspace import open_workspace
from tasks.plan import CoalitionPlan


@dataclass(frozen=True)
class Timing:
    """Wall time of a part of a run, and how much of it was training, sampling and measuring, in seconds."""

    part: str
    seconds: float
    busy: float
    reused: bool

    def as_row(self) -> tuple[str, str, str, str]:
        if self.reused:
            return self.part, "", "", "reused"
        return self.part, f"{self.seconds:.1f} s", f"{self.busy:.1f} s", ""


def stage_timing(stage: StageRecord) -> Timing:
    if stage.reused:
        return Timing(stage.name, 0.0, 0.0, reused=True)
    return Timing(stage.name, stage.seconds, stage.outputs.get("busy_seconds", 0.0), reused=False)


def fan_out_timing(pending: Sequence[CoalitionPlan], began: float, seconds: float) -> Timing:
    """Busy is the time of what was trained and measured since `began`, over the number of workers that shared it.

    Args:
        pending: what had something left to do.
        began: as a POSIX timestamp.
    """
    runs = open_workspace(settings()).runs
    models = runs.coalitions(plan.key for plan in pending).values()
    measures = runs.measurements(measure.key for plan in pending for measure in plan.measures).values()
    since = datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds")
    work = sum(row.train_seconds for row in models if row.created_at >= since)
    work += sum(row.sample_seconds + row.measure_seconds for row in measures if row.created_at >= since)
    return Timing("coalitions", seconds, work / settings().workers, reused=not pending)

"""Where the time of a run went: work on models, and everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def fan_out_timing(measured: Sequence[CoalitionPlan], seconds: float) -> Timing:
    """Busy is the time of all coalitions over the number of workers that shared them."""
    rows = open_workspace(settings()).runs.coalitions(plan.key for plan in measured)
    work = sum(row.train_seconds + row.sample_seconds + row.measure_seconds for row in rows.values())
    return Timing("coalitions", seconds, work / settings().workers, reused=not measured)

"""Where the time of a run went: work on models, and everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from royalty.infra.settings import settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import open_workspace


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


def fan_out_timing(fresh: Mapping[str, Sequence[str]], seconds: float) -> Timing:
    """Busy is the time of what was trained and measured, over the number of workers that shared it.

    Args:
        fresh: rows that this flow run recorded, by coalition.
    """
    runs = open_workspace(settings()).runs
    rows = [row for own in fresh.values() for row in own]
    work = sum(row.train_seconds for row in runs.coalitions(rows).values())
    work += sum(row.sample_seconds + row.measure_seconds for row in runs.measurements(rows).values())
    return Timing("coalitions", seconds, work / settings().workers, reused=not fresh)

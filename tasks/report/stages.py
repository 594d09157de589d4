"""The stages that tell of a run: MLflow's runs, and the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from royalty.tasks.stages.stage import Stage


@dataclass(frozen=True)
class TrackInputs:
    """A run by its name, the keys of its stages, and of the measurements that its credit is estimated from."""

    name: str
    stages: list[str]
    measurements: list[str]


@dataclass(frozen=True)
class TrackOutputs:
    """The ids of the MLflow run, of the Prefect flow run, and of the commit.

    Attributes:
        experiments: MLflow's ids, by `runs` and `coalitions`.
        runs: MLflow's run of each stage and coalition, by key.
    """

    run: str
    commit: str
    flow_run: str
    experiments: dict[str, str]
    runs: dict[str, str]


@dataclass(frozen=True)
class ReportInputs:
    """All that the pages show.

    Attributes:
        stages: keys, by name.
        template: digest of what pages look like.
        context: digests and rows that the pages of contributors depend on besides.
    """

    name: str
    stages: Mapping[str, str]
    notes: list[str]
    checks: list[str]
    template: str
    context: Mapping[str, Any]


@dataclass(frozen=True)
class ReportOutputs:
    """Digests of the report, and of every page by file name."""

    report: str
    pages: dict[str, str]


TRACK = Stage("track", TrackInputs, TrackOutputs)
REPORT = Stage("report", ReportInputs, ReportOutputs)

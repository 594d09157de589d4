"""Records to log to MLflow, defined without importing MLflow, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetRecord:
    """An input dataset of a run. MLflow stores 36 characters of a digest; a tag stores the whole digest.

    Attributes:
        profile: what the UI shows of the dataset, such as counts by contributor.
    """

    name: str
    digest: str
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run to log."""

    name: str
    key: str
    note: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    dataset: DatasetRecord

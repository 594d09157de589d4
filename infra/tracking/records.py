"""What is logged to MLflow, in words that need no MLflow, which takes seconds to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Given:
    """A dataset that a run was given; MLflow holds 36 characters of a digest, a tag the whole.

    Attributes:
        profile: what the UI shows of it, such as counts by contributor.
    """

    name: str
    digest: str
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class FinishedRun:
    """A run to be logged as it ended."""

    name: str
    key: str
    note: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    dataset: Given

"""Records to log to MLflow, defined without importing MLflow, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DatasetRecord:
    """An input dataset of a run. MLflow stores 36 characters of a digest; a tag stores the whole digest.

    Attributes:
        profile: what the UI shows of the dataset, such as counts by contributor.
        context: what the dataset is used for.
    """

    name: str
    digest: str
    profile: Mapping[str, Any]
    context: str = "training"


@dataclass(frozen=True)
class Period:
    """When something ran, in seconds since the epoch."""

    started: float
    ended: float


@dataclass(frozen=True)
class Payment:
    """What was paid by the credit of a run.

    Attributes:
        state: `proposed`, `paid`, `replaced` or `refused`.
        text: the same in Markdown, with all statements.
        statement, at: the last statement that stands, or else the last one, and when it was posted; empty without one.
    """

    state: str
    text: str
    statement: str = ""
    at: str = ""

    @property
    def line(self) -> str:
        """The line of a run's description."""
        return f"{PAYMENT} {self.text}"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of a run, without those that have no value."""
        tags = {"royalty.payment": self.state, "royalty.statement": self.statement, "royalty.paid_at": self.at}
        return {tag: value for tag, value in tags.items() if value}

    def within(self, note: str) -> str:
        """The description of a run with this line in the place of an earlier one."""
        lines = note.split("\n")
        places = [place for place, line in enumerate(lines) if line.startswith(PAYMENT)]
        if not places:
            return f"{note.rstrip()}\n\n{self.line}\n"
        lines[places[0]] = self.line
        return "\n".join(lines)


PAYMENT = "**Payment:**"
"""Begins the line of a run's description that says what was paid."""


@dataclass(frozen=True)
class ModelRecord:
    """A model that a run produced.

    Attributes:
        digest: identifies the model: the store logs each model once.
        metrics: measured on `dataset`.
        dataset: the data that `metrics` were measured on.
        size: metrics of the model that no data determines, such as its number of parameters.
        losses: loss curve of its training, pairs of step and mean loss.
        trained_on: the data of `losses`.
        params: shown on the page of the model.
        note: description of the model, in Markdown.
    """

    name: str
    digest: str
    metrics: Mapping[str, float]
    dataset: DatasetRecord | None = None
    size: Mapping[str, float] = field(default_factory=dict)
    losses: Sequence[Sequence[float]] = ()
    trained_on: DatasetRecord | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run to log.

    Attributes:
        losses: loss curve, pairs of step and mean loss.
        start: MLflow's ID of the logged model that the training started from.
        tags: further tags.
    """

    name: str
    key: str
    note: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    dataset: DatasetRecord
    period: Period
    losses: Sequence[Sequence[float]] = ()
    start: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

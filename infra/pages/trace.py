"""What a trace says: the steps between money and images, each with what proves it, and as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from royalty.infra.pages.report import environment

State = Literal["verified", "recorded", "changed", "missing"]


@dataclass(frozen=True)
class Step:
    """One thing on the way.

    Attributes:
        title: what it is, such as `Credit table`; steps of one title follow each other.
        id: its digest, key or name.
        state: `verified` was hashed again, or compared with a second record, and is what it was; `recorded` has
            nothing to compare with; `changed` and `missing` are what an auditor wants to know.
        facts: name and value of what there is to say about it.
        problem: what no longer matches; None where all does.
        commit, flow_run: the code that made it, and Prefect's id of the flow run that did.
        mlflow_run, mlflow_url: where MLflow shows it; the address is known of a server alone.
        asked: this is what was asked for.
    """

    title: str
    id: str
    state: State
    facts: tuple[tuple[str, str], ...] = ()
    problem: str | None = None
    commit: str | None = None
    flow_run: str | None = None
    mlflow_run: str | None = None
    mlflow_url: str | None = None
    asked: bool = False


@dataclass(frozen=True)
class Trace:
    """The whole way of one id.

    Attributes:
        asked: as it was given.
        kind, id: what it is, and its whole id.
        steps: from money to images.
        hashed: how many were verified by hashing or comparing them again.
        problems: of all steps, one sentence each.
    """

    asked: str
    kind: str
    id: str
    steps: tuple[Step, ...]
    hashed: int
    problems: tuple[str, ...]

    @property
    def matches(self) -> bool:
        return not self.problems

    @property
    def groups(self) -> list[tuple[str, list[Step]]]:
        """The steps by title, in order."""
        grouped: dict[str, list[Step]] = {}
        for step in self.steps:
            grouped.setdefault(step.title, []).append(step)
        return list(grouped.items())


def render_trace(trace: Trace) -> str:
    """The trace as one HTML file that loads nothing from elsewhere."""
    return environment().get_template("trace.html.j2").render(trace=trace)

"""A trace: the steps from payments to images with their verification, also as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from royalty.infra.pages.report import environment

State = Literal["verified", "recorded", "changed", "missing"]


@dataclass(frozen=True)
class Step:
    """One record of a lineage.

    Attributes:
        title: kind of the record, such as `Credit table`; steps with the same title are adjacent.
        id: its digest, key or name.
        state: `verified`: the hash, or the comparison with a second record, matches; `recorded`: there is nothing to
            compare with; `changed` or `missing`: the record does not match.
        facts: name and value of each property to show.
        problem: the mismatch; None if there is none.
        commit, flow_run: commit of the code that created the record, and Prefect's ID of the flow run.
        mlflow_run, mlflow_url: its MLflow run; the address is known only for an MLflow server.
        asked: whether this is the requested record.
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
    """The lineage of one ID.

    Attributes:
        asked: the ID as the user entered it.
        kind, id: kind of the record, and its full ID.
        steps: from payments to images.
        hashed: number of items verified by hash or by a second record.
        problems: mismatches of all steps, one sentence each.
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

    @property
    def common(self) -> tuple[str | None, str | None]:
        """Commit and flow run, each where all steps that have one have the same; the page shows it once."""
        commits = {step.commit for step in self.steps if step.commit}
        flow_runs = {step.flow_run for step in self.steps if step.flow_run}
        commit, flow_run = (next(iter(found)) if len(found) == 1 else None for found in (commits, flow_runs))
        return commit, flow_run


def render_trace(trace: Trace) -> str:
    """Render the trace as one HTML file without external resources."""
    return environment().get_template("trace.html.j2").render(trace=trace)

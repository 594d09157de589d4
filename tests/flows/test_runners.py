"""What runs coalitions: what happens to one that is killed, hangs or runs out of memory, and to a stray worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.artifacts import StoreError
from infra.runstore import CoalitionRecord
from infra.settings import Settings, masked, settings
from infra.workspace import open_workspace, place_of
from models.training import Training
from tasks import coalitions
from tasks.plan import CoalitionPlan


def measure_coalitions(
    plans: Sequence[CoalitionPlan], _threads: int, settings: Settings, _advance: Callable[[int], None]
) -> None:
    """In place of training: a coalition does what its one member is called."""
    space = open_workspace(settings)
    for plan in plans:
        tried = space.root / plan.key
        if plan.members == ("hangs",):
            time.sleep(60)
        if plan.members == ("is killed",) or (plan.members == ("is killed once",) and not tried.exists()):
            tried.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.members == ("fills memory",):
            raise MemoryError("no memory for it")
        if plan.members == ("has a bug",):
            raise ValueError("a bug")
        space.runs.record_coalition(
            CoalitionRecord(plan.key, list(plan.members), plan.method, plan.seed, 1, 0.1, "cpu", "checkpoint")
        )


def plan_of(member: str) -> CoalitionPlan:
    training = Training(1, 1, 0.1, 0.5, 1, 0.1)
    return CoalitionPlan(member.replace(" ", "-"), (member,), "train", "start", "sparsified", training, 0, ())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path))
    monkeypatch.setattr(coalitions, "MEASURING", __name__)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_what_hangs_or_is_killed_twice_is_recorded_as_failed_and_the_rest_is_finished(home: Path) -> None:
    names = ["first", "is killed once", "hangs", "is killed", "fills memory", "last"]
    coalitions.measure_together.fn([plan_of(name) for name in names], 2 / 60, place_of(settings()))
    rows = open_workspace(settings()).runs.coalitions(plan_of(name).key for name in names)
    assert len(rows) == len(names)
    failures = {row.members[0]: row.failure for row in rows.values() if row.failure}
    assert failures == {
        "hangs": "took longer than 2 s and was ended; raise its `timeout_minutes`, twice",
        "is killed": "ended without a result, killed by SIGKILL (out of memory?), twice",
        "fills memory": "no memory for it, twice",
    }


def test_a_bug_is_no_failed_coalition(home: Path) -> None:
    with pytest.raises(RuntimeError, match="ValueError: a bug"):
        coalitions.measure_together.fn([plan_of("has a bug")], 1, place_of(settings()))
    assert open_workspace(settings()).runs.coalitions(["has-a-bug"]) == {}


def test_a_worker_with_stores_of_its_own_is_refused_and_shows_no_password(home: Path) -> None:
    with pytest.raises(StoreError, match=r"in /elsewhere with sqlite:///x; on this worker it would be") as refused:
        coalitions.measure_together.fn([plan_of("first")], 1, "/elsewhere with sqlite:///x")
    assert str(home) in str(refused.value)
    assert masked("postgresql+psycopg://me:secret@host/royalty") == "postgresql+psycopg://me:***@host/royalty"


@pytest.mark.parametrize("runner", ["", "Dask", "http://host:8786", "host:8786"])
def test_an_unknown_runner_is_refused(runner: str) -> None:
    with pytest.raises(ValidationError, match="ROYALTY_RUNNER is threads, dask, ray"):
        Settings(runner=runner)

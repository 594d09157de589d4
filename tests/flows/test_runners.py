"""What runs coalitions: what happens to one that is killed, hangs or runs out of memory, and to a stray worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from distributed import Client, LocalCluster
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import ValidationError

from royalty.infra.processes.runners import task_runner
from royalty.infra.processes.workers import Deferred, run_in_process
from royalty.infra.settings import Settings, masked, settings
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import open_workspace, place_of
from royalty.models.generators.training import Training
from royalty.tasks.credit import coalitions
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.stages.device import device_name, one_gpu
from tests.flows import stand_in_worker

ROOT = Path(__file__).parents[2]
STAND_IN = stand_in_worker.__name__


def plan_of(member: str) -> CoalitionPlan:
    training = Training(1, 1, 0.1, 0.5, 1, 0.1)
    return CoalitionPlan(member.replace(" ", "-"), (member,), "train", "start", "sparsified", training, 0, ())


def measure(names: Sequence[str], minutes: float = 1, place: str = "", wait: bool = False) -> list[str]:
    """As the task does it, for these coalitions."""
    return coalitions.measure_together.fn(
        [plan_of(name) for name in names], minutes, place or place_of(settings()), wait
    )


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def begun(home: Path) -> list[str]:
    return (home / "begun").read_text().split() if (home / "begun").exists() else []


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path))
    monkeypatch.setattr(coalitions, "worker", Deferred(STAND_IN))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def measure_elsewhere(names: Sequence[str]) -> list[str]:
    """In a worker of a cluster, which imports all anew; the time limit is for coalitions, not for that."""
    coalitions.worker = Deferred(STAND_IN)
    run_in_process(stand_in_worker.nothing, advance=print)
    return measure(names, minutes=20 / 60)


@contextmanager
def worker_of(runner: str) -> Iterator[Callable[[Sequence[str]], list[str]]]:
    """What measures coalitions in the one worker of such a cluster, started as the product starts it."""
    if runner == "threads":
        yield measure_elsewhere
    elif runner == "dask":
        own = cast(DaskTaskRunner, task_runner(Settings(runner=runner, workers=1)))
        with LocalCluster(**own.cluster_kwargs) as cluster, Client(cluster) as client:
            yield lambda names: client.submit(measure_elsewhere, names).result()
    else:
        ray = pytest.importorskip("ray", reason="Ray is in the extra `ray`")
        own = cast(Any, task_runner(Settings(runner=runner, workers=1)))
        ray.init(**own.init_kwargs)
        try:
            yield lambda names: ray.get(ray.remote(measure_elsewhere).remote(names))
        finally:
            ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(
    "runner",
    ["threads", pytest.param("dask", marks=pytest.mark.cluster), pytest.param("ray", marks=pytest.mark.cluster)],
)
def test_what_hangs_or_is_killed_twice_is_recorded_as_failed_and_the_rest_is_finished(home: Path, runner: str) -> None:
    names = ["first", "is killed once", "hangs", "is killed", "fills memory", "last"]
    with worker_of(runner) as measured:
        assert measured(names) == []
    rows = open_workspace(settings()).runs.coalitions(plan_of(name).key for name in names)
    assert len(rows) == len(names)
    failures = {row.members[0]: row.failure for row in rows.values() if row.failure}
    assert failures == {
        "hangs": "ended because it took longer than 20 s; raise its `timeout_minutes`, twice",
        "is killed": "ended without a result: killed by SIGKILL (out of memory?), twice",
        "fills memory": "no memory for it, twice",
    }


def test_what_another_flow_is_at_is_left_to_it_or_waited_for(home: Path) -> None:
    with ThreadPoolExecutor() as pool:
        other = pool.submit(measure, ["waits", "second"])
        until(lambda: begun(home) == ["waits"])
        assert measure(["second", "waits", "third"]) == ["second", "waits"]
        waiting = pool.submit(measure, ["second", "waits"], wait=True)
        time.sleep(0.3)
        assert not waiting.done()
        (home / "go on").touch()
        assert other.result() == waiting.result() == []
    assert sorted(begun(home)) == ["second", "third", "waits"], "each was trained once"
    assert list((home / "locks").iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_flow_was_at_is_taken_over_at_once(home: Path) -> None:
    program = f"from {__name__} import *; coalitions.worker = Deferred({STAND_IN!r}); measure(['waits', 'second'])"
    # Once a worker was started, children of this process do not look for modules in the current folder.
    other = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)})
    until(lambda: begun(home) == ["waits"] or other.poll() is not None)
    assert other.poll() is None
    assert measure(["waits", "second"]) == ["waits", "second"]
    other.kill()
    other.wait()
    (home / "go on").touch()
    assert measure(["waits", "second"]) == []
    assert begun(home) == ["waits", "waits", "second"]


def test_a_bug_is_no_failed_coalition(home: Path) -> None:
    with pytest.raises(RuntimeError, match="ValueError: a bug"):
        measure(["has a bug"])
    assert open_workspace(settings()).runs.coalitions(["has-a-bug"]) == {}


def test_a_worker_with_stores_of_its_own_is_refused_and_shows_no_password(home: Path) -> None:
    with pytest.raises(StoreError, match=r"/elsewhere with sqlite:///x, but this worker uses") as refused:
        measure(["first"], place="/elsewhere with sqlite:///x")
    assert str(home) in str(refused.value)
    assert masked("postgresql+psycopg://me:secret@host/royalty") == "postgresql+psycopg://me:***@host/royalty"


@pytest.mark.parametrize("runner", ["", "Dask", "http://host:8786", "host:8786"])
def test_an_unknown_runner_is_refused(runner: str) -> None:
    with pytest.raises(ValidationError, match="ROYALTY_RUNNER must be threads, dask, ray"):
        Settings(runner=runner)


def test_rows_name_the_gpu_that_drew_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_name() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    assert device_name() == "cuda (NVIDIA H100)"


def test_coalitions_are_spread_over_the_gpus_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    with one_gpu(tmp_path):
        assert taken == []  # where there is none
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with one_gpu(tmp_path), one_gpu(tmp_path), one_gpu(tmp_path):
        assert taken == [0, 1, 0]
    with one_gpu(tmp_path):
        assert taken == [0, 1, 0, 0]
    assert list(tmp_path.iterdir()) == []

"""`prefect.yaml` as a team uses it: deployed, triggered, and run by a worker of a process pool."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterId,
)
from prefect.client.schemas.objects import FlowRun

from tests.conftest import SMALL

ROOT = Path(__file__).parent.parent.parent
PREFECT = Path(sys.executable).with_name("prefect")
COMPOSE = yaml.safe_load((ROOT / "infra" / "deploy" / "compose.yaml").read_text())

FLOWS = {
    "credit": "credit",
    "revalue": "revalue",
    "payout": "payout",
    "transport": "transport",
    "gmvaluator": "gmvaluator",
}


def made_by(run: FlowRun) -> ArtifactFilter:
    return ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))


def revaluations(client: SyncPrefectClient, deployment: UUID, besides: Sequence[FlowRun]) -> list[FlowRun]:
    """Runs of a deployment that nobody asked for here."""
    known = {run.id for run in besides}
    of_it = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    return [run for run in client.read_flow_runs(deployment_filter=of_it) if run.id not in known]


def eventually(look: Callable[[], list[FlowRun]]) -> list[FlowRun]:
    """What is found once something is, or nothing within a minute."""
    deadline = time.monotonic() + 60
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(environment["PREFECT_API_URL"]) as client:
        yield client
        client.delete_global_concurrency_limit_by_name("tag:gpu")  # or tests that train would wait for each other


@pytest.mark.cluster
def test_a_worker_runs_every_deployment(client: SyncPrefectClient, environment: dict[str, str], tmp_path: Path) -> None:
    def prefect(*arguments: str) -> None:
        done = subprocess.run(
            [PREFECT, "--no-prompt", *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr

    config = yaml.safe_load(SMALL) | {"name": "deployed"}
    rows = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    np.savez(tmp_path / "items.npz", features=rows, labels=np.arange(24) % 2)
    items = str(tmp_path / "items.npz")
    parameters: dict[str, dict[str, Any]] = {
        "revalue": {"config": config},
        "payout": {"credit": "deployed", "config": {"name": "spring", "pool": "70.00"}},
        "transport": {"config": {"name": "moved", "method": "knn-shapley", "train": items, "val": items}},
        "gmvaluator": {
            "config": {"name": "matched", "train": items, "generated": items, "matching": {"rerank": "none"}}
        },
    }
    for _ in range(2):  # a second time changes nothing
        done = subprocess.run(
            COMPOSE["services"]["deployments"]["command"],
            env={**environment, "PATH": f"{PREFECT.parent}:{os.environ['PATH']}"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert client.read_global_concurrency_limit_by_name("tag:gpu").limit == 1
    (silent,) = (one for one in client.read_automations() if one.name == "silent-runs")
    assert silent.trigger.posture == "Proactive"
    found = {name: client.read_deployment_by_name(f"{flow}/{name}") for name, flow in FLOWS.items()}
    assert found["credit"].schedules[0].schedule.cron == "0 3 * * 1"
    assert not [name for name, one in found.items() if one.schedules[0].active], "none runs before it is asked to"
    assert {one.global_concurrency_limit.limit for one in found.values()} == {1}
    runs = [client.create_flow_run_from_deployment(found["credit"].id, parameters={"config": config})]
    prefect("worker", "start", "--pool", "royalty", "--run-once")
    for name, given in parameters.items():
        runs.append(client.create_flow_run_from_deployment(found[name].id, parameters=given))
    prefect("worker", "start", "--pool", "royalty", "--run-once")
    for run in runs:
        state = client.read_flow_run(run.id).state
        assert state.is_completed(), f"{run.name}: {state.message}"
    shown = {made.key: made for run in runs[:2] for made in client.read_artifacts(artifact_filter=made_by(run))}
    assert {key: made.type for key, made in shown.items()} == {
        "change-deployed": "table",
        "payout-deployed": "table",
        "report-deployed": "markdown",
        "revalue-deployed": "markdown",
    }
    assert len(json.loads(shown["payout-deployed"].data)) == 3
    assert "report.html" in shown["report-deployed"].data
    assert "Nothing changed since" in shown["revalue-deployed"].data
    prefect("events", "emit", "royalty.images.changed", "--resource-id", "royalty.run.digits")
    started = eventually(lambda: revaluations(client, found["revalue"].id, besides=runs))
    assert [run.deployment_id for run in started] == [found["revalue"].id]
    assert started[0].parameters["config"] == {"name": "digits", "matching": {"encoder": "pixels"}}
    left = tmp_path / "home" / "runs"
    assert (left / "deployed" / "report.html").exists()
    assert (left / "moved" / "values.parquet").exists()
    assert (left / "matched" / "contributions.parquet").exists()

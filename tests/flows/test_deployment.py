"""`prefect.yaml` as a team uses it: deployed, triggered, and run by a worker of a process pool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from prefect.client.orchestration import SyncPrefectClient

from tests.conftest import SMALL

ROOT = Path(__file__).parent.parent.parent
PREFECT = Path(sys.executable).with_name("prefect")
COMPOSE = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())

FLOWS = {
    "credit": "credit",
    "revalue": "revalue",
    "payout": "payout",
    "transport": "transport",
    "gmvaluator": "gmvaluator",
}


def test_a_worker_runs_every_deployment(environment: dict[str, str], tmp_path: Path) -> None:
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
    with SyncPrefectClient(environment["PREFECT_API_URL"]) as client:
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
        assert [name for name, one in found.items() if one.schedules[0].active] == ["credit"]
        assert {one.global_concurrency_limit.limit for one in found.values()} == {1}
        runs = [client.create_flow_run_from_deployment(found["credit"].id, parameters={"config": config})]
        prefect("worker", "start", "--pool", "royalty", "--run-once")
        for name, given in parameters.items():
            runs.append(client.create_flow_run_from_deployment(found[name].id, parameters=given))
        prefect("worker", "start", "--pool", "royalty", "--run-once")
        for run in runs:
            state = client.read_flow_run(run.id).state
            assert state.is_completed(), f"{run.name}: {state.message}"
    left = tmp_path / "home" / "runs"
    assert (left / "deployed" / "report.html").exists()
    assert (left / "moved" / "values.parquet").exists()
    assert (left / "matched" / "contributions.parquet").exists()

"""`prefect.yaml` as a team uses it: deployed, triggered, and run by a worker of a process pool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate

from tests.conftest import SMALL

ROOT = Path(__file__).parent.parent.parent
PREFECT = Path(sys.executable).with_name("prefect")


def test_worker_runs_the_deployment(environment: dict[str, str], tmp_path: Path) -> None:
    def prefect(*arguments: str) -> None:
        done = subprocess.run(
            [PREFECT, "--no-prompt", *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr

    with SyncPrefectClient(environment["PREFECT_API_URL"]) as client:
        client.create_work_pool(WorkPoolCreate(name="royalty", type="process"))
        prefect("deploy", "--all")
        deployment = client.read_deployment_by_name("credit/weekly")
        assert deployment.schedules[0].schedule.cron == "0 3 * * 1"
        config = yaml.safe_load(SMALL) | {"name": "deployed"}
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"config": config})
        prefect("worker", "start", "--pool", "royalty", "--run-once")
        assert client.read_flow_run(run.id).state.is_completed()
    assert (tmp_path / "home" / "runs" / "deployed" / "report.html").exists()

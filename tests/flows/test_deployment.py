"""`prefect.yaml` as a team uses it: deployed, triggered, and run by a worker of a process pool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import SMALL

ROOT = Path(__file__).parent.parent.parent
PREFECT = Path(sys.executable).with_name("prefect")


def test_worker_runs_the_deployment(environment: dict[str, str], tmp_path: Path) -> None:
    def prefect(*arguments: str) -> str:
        done = subprocess.run(
            [PREFECT, "--no-prompt", *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    prefect("work-pool", "create", "royalty", "--type", "process")
    prefect("deploy", "--all")
    shown = json.loads(prefect("deployment", "inspect", "credit/weekly", "--output", "json"))
    assert shown["schedules"][0]["schedule"]["cron"] == "0 3 * * 1"
    config = yaml.safe_load(SMALL) | {"name": "deployed"}
    prefect("deployment", "run", "credit/weekly", "--params", json.dumps({"config": config}))
    prefect("worker", "start", "--pool", "royalty", "--run-once")
    assert (tmp_path / "home" / "runs" / "deployed" / "report.html").exists()

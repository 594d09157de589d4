"""The whole job and a payout on PostgreSQL, a Prefect server and an MLflow server, as a team would run it."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, inspect, make_url

from royalty.infra.servers.local_stack import URLS, local_stack
from royalty.infra.servers.postgres import binary
from tests.conftest import SMALL, Credited, Run

ROOT = Path(__file__).parent.parent.parent
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN")
"""What the environment holds besides the database's password; nobody asks for them here."""

pytestmark = pytest.mark.postgres


def dumped(url: str) -> dict[str, bytes]:
    """All that the databases of a server hold: parameters, tags and logs of both servers, and the stores."""
    at = make_url(url)
    command = [binary("pg_dump"), "-h", str(at.host), "-p", str(at.port), "-U", str(at.username)]
    environment = {**os.environ, "PGPASSWORD": str(at.password)}
    return {
        name: subprocess.run([*command, name], env=environment, capture_output=True, check=True).stdout
        for name in ("royalty", "mlflow", "prefect")
    }


@pytest.mark.slow
def test_credit_and_payout_on_servers_give_the_table_of_one_machine(
    credited: Credited, installed: Run, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)

    said: list[str] = []

    def run(home: str, **overrides: str) -> tuple[dict, list[dict]]:
        answers = []
        for arguments in (
            ["run", "--config", "small.yaml", "--json"],
            ["payout", "--credit", "small", "--pool", "77.00", "--currency", "EUR", "--period", "2026-05", "--json"],
        ):
            done = installed(*arguments, ROYALTY_HOME=str(tmp_path / home), **overrides)
            assert done.returncode == 0, done.stderr
            said.append(done.stdout + done.stderr)
            answers.append(json.loads(done.stdout))
        return answers[0], answers[1]["rows"]

    alone, paid_alone = run(str(credited.copy_to(tmp_path / "one")))
    planted = {name: secrets.token_hex(16) for name in SECRETS}
    with local_stack() as environment:
        shared, paid = run("shared", **environment, **planted)
        again = installed(
            "run", "--config", "small.yaml", "--json", ROYALTY_HOME=str(tmp_path / "shared"), **environment
        )
        assert json.loads(again.stdout)["measured"] == 0
        client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
        logged = client.get_run(shared["mlflow_run"])
        assert logged.info.artifact_uri.startswith("mlflow-artifacts:/"), "files go through the server"
        assert client.list_artifacts(shared["mlflow_run"])
        engine = create_engine(environment["ROYALTY_DATABASE_URL"])
        assert inspect(engine).has_table("statements")
        engine.dispose()
        dumps = dumped(environment["ROYALTY_DATABASE_URL"])
        planted["ROYALTY_DATABASE_URL"] = str(make_url(environment["ROYALTY_DATABASE_URL"]).password)
    assert b"small" in dumps["mlflow"]
    assert b"small" in dumps["prefect"]
    kept = {str(path): path.read_bytes() for path in (tmp_path / "shared").rglob("*") if path.is_file()}
    for place, held in {**dumps, **kept, "terminal": "".join(said).encode()}.items():
        found = [name for name, secret in planted.items() if secret.encode() in held]
        assert not found, (place, found)
    assert shared["table"] == alone["table"], "to the last digit"
    assert (shared["rows"], paid) == (alone["rows"], paid_alone)
    assert not (tmp_path / "shared" / "royalty.db").exists()
    assert not (tmp_path / "shared" / "mlflow" / "mlflow.db").exists()


@pytest.mark.slow
def test_it_runs_a_command_shows_no_password_and_leaves_nothing() -> None:
    program = f"import os, sys; print(*(os.environ[name] for name in {URLS})); sys.exit(7)"
    done = subprocess.run(
        [sys.executable, "-m", "royalty.infra.servers.local_stack", "--", sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 7, done.stderr
    password = re.search(r"royalty:(\w+)@127\.0\.0\.1", done.stdout)
    assert password
    assert password[1] not in done.stderr
    assert "royalty:***@127.0.0.1" in done.stderr
    ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", done.stdout)]
    assert len(ports) == 3
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "nothing listens any more"
    refused = subprocess.run(
        [sys.executable, "-m", "royalty.infra.servers.local_stack", "royalty"], cwd=ROOT, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "put `--` before the command; got royalty" in refused.stderr

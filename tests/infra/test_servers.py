"""MLflow's server as the documentation sets it up for teams: by its own name, and for those with a password."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest
from mlflow import MlflowClient

from infra.servers import HOST, QUIET, Server, free_port, loopback_hosts, mlflow_server
from infra.settings import Settings

INFRA = Path(__file__).parent.parent.parent / "infra"


def status(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_strangers_and_other_sites_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = (INFRA / "containers" / "basic_auth.ini").read_text()
    (tmp_path / "auth.ini").write_text(config.replace("/srv/royalty", str(tmp_path)))
    port, password = free_port(), secrets.token_hex(16)
    command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", "--app-name", "basic-auth"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--allowed-hosts", loopback_hosts(port)]
    server = Server(
        command,
        port=port,
        health="/health",
        log=tmp_path / "log",
        environment={
            **QUIET,
            "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        },
    )
    try:
        server.wait_until_ready()
        listed = f"{server.url}/api/2.0/mlflow/experiments/search?max_results=5"
        signed = {"Authorization": "Basic " + b64encode(f"admin:{password}".encode()).decode()}
        assert status(listed) == 401
        assert status(listed, **signed) == 200
        assert status(listed, **signed, Host="attacker.example") == 403
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        assert MlflowClient(server.url).search_experiments()
    finally:
        server.stop()


def test_the_pages_of_a_home_are_served_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("infra.servers.Server", lambda command, **_: started.append(command))
    mlflow_server(Settings(home=tmp_path))
    (command,) = started
    port = command[command.index("--port") + 1]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--allowed-hosts") + 1] == f"127.0.0.1:{port},localhost:{port}"

"""Prefect's and MLflow's servers: what their pages show, and whom they answer."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient

from infra.servers import HOST, QUIET, Server, free_port, loopback_hosts, mlflow_server, prefect_server
from infra.settings import Settings
from tests.browser import Browser

INFRA = Path(__file__).parent.parent.parent / "infra"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Both servers as `royalty ui` starts them, over a home of their own."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**QUIET, "PREFECT_HOME": str(settings.root / "prefect")}.items():
            environment.setenv(name, value)
        servers = {"prefect": prefect_server(settings), "mlflow": mlflow_server(settings)}
    try:
        for server in servers.values():
            server.wait_until_ready()
        yield servers
    finally:
        for server in servers.values():
            server.stop()


@flow(name="credit")
def harvest(rows: int) -> int:
    return rows


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


def test_prefects_page_shows_runs(served: dict[str, Server]) -> None:
    with SyncPrefectClient(f"{served['prefect'].url}/api") as client:
        client.create_flow_run(harvest, name="amber-harvest", parameters={"rows": 3})
    with Browser() as browser:
        for name in ("127.0.0.1", "localhost"):
            address = served["prefect"].url.replace("127.0.0.1", name)
            browser.open(address, wait=False)
            browser.until("document.body?.innerText.includes('You currently have 0 failed')", 60)
            assert browser.run("location.pathname") == "/v2/dashboard"
            browser.open(f"{address}/v2/runs", wait=False)
            browser.until("document.body?.innerText.includes('amber-harvest')", 60)
        own = [failure for failure in browser.failed if HOST in failure or "localhost" in failure]
        assert [failure for failure in own if not failure.endswith("/favicon.ico")] == []  # which Prefect does not have


def test_mlflows_page_shows_experiments(served: dict[str, Server]) -> None:
    MlflowClient(served["mlflow"].url).create_experiment("amber harvest")
    with Browser() as browser:
        for name in ("127.0.0.1", "localhost"):
            browser.open(served["mlflow"].url.replace("127.0.0.1", name) + "/#/experiments", wait=False)
            browser.until("document.body?.innerText.includes('amber harvest')", 60)
        # By which the page finds out that this server has no users and passwords.
        assert [failure for failure in browser.failed if not failure.endswith("/users/current")] == []

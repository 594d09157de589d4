"""Prefect's and MLflow's servers: what their pages show, and whom they answer."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from royalty.infra.processes.machine import HOST, free_port
from royalty.infra.servers.loopback import QUIET, Server, loopback_hosts, mlflow_server, prefect_server
from royalty.infra.settings import Settings
from tests.browser import Browser

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "infra" / "deploy"

pytestmark = pytest.mark.xdist_group("servers")  # one process starts them, once


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


def test_databases_and_logs_of_servers_are_read_by_their_owner_only(served: dict[str, Server]) -> None:
    home = served["mlflow"].log.parents[1]
    files = [path for path in home.rglob("*") if path.is_file() and "prefect/ui" not in str(path)]
    assert {path.name for path in files} >= {"prefect.db", "mlflow.db", "server.log"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []


JOB = """
import os, urllib.error, urllib.request
from pathlib import Path

from royalty.infra.servers.session import session

with session(show_progress=False) as wait_for_server:
    from prefect import flow
    from prefect.client.orchestration import get_client

    wait_for_server()
    try:
        urllib.request.urlopen(urllib.request.Request(os.environ["PREFECT_API_URL"] + "/flows/count", b"{}"))
        answer = 200
    except urllib.error.HTTPError as error:
        answer = error.code

    @flow
    def credit():
        return 1

    credit()
    with get_client(sync_client=True) as client:
        print(answer, client.read_flow_runs()[0].state.name)
    key = os.environ.get("PREFECT_API_AUTH_STRING", "").encode()
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    print(bool(key), any(key in line for line in lines))
"""
"""A job: what its server answers to a stranger, what became of its flow run, and whether others see its password."""


@flow(name="credit")
def harvest(rows: int) -> int:
    return rows


def ask(url: str, payload: bytes | None = None, **headers: str) -> tuple[int, Message]:
    """Status and headers of the answer to a GET, or of a POST with a payload."""
    request = urllib.request.Request(url, payload, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def status(url: str, payload: bytes | None = None, **headers: str) -> int:
    return ask(url, payload, **headers)[0]


@pytest.mark.slow
def test_strangers_and_other_sites_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = (DEPLOY / "containers" / "basic_auth.ini").read_text()
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
    monkeypatch.setattr("royalty.infra.servers.loopback.Server", lambda command, **_: started.append(command))
    mlflow_server(Settings(home=tmp_path))
    (command,) = started
    port = command[command.index("--port") + 1]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--allowed-hosts") + 1] == f"127.0.0.1:{port},localhost:{port}"


@pytest.mark.browser
@pytest.mark.slow
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
        outside = {url for url in browser.requested.values() if urlsplit(url).hostname not in (HOST, "localhost")}
        assert outside == set(), "telemetry"
        # An icon is all that Prefect does not have.
        assert [failure for failure in browser.failed if not failure.endswith("/favicon.ico")] == []


@pytest.mark.browser
@pytest.mark.slow
def test_mlflows_page_shows_experiments(served: dict[str, Server]) -> None:
    MlflowClient(served["mlflow"].url).create_experiment("amber harvest")
    with Browser() as browser:
        for name in ("127.0.0.1", "localhost"):
            browser.open(served["mlflow"].url.replace("127.0.0.1", name) + "/#/experiments", wait=False)
            browser.until("document.body?.innerText.includes('amber harvest')", 60)
        # By which the page finds out that this server has no users and passwords.
        assert [failure for failure in browser.failed if not failure.endswith("/users/current")] == []


STRANGE = ("https://attacker.example", "http://127.0.0.1.attacker.example", "null")
"""Origins of pages that are not the server's; `null` is that of a frame or a file."""

READ = {"prefect": "/api/admin/version", "mlflow": "/ajax-api/2.0/mlflow/experiments/search?max_results=5"}
WRITTEN = {
    "prefect": ("/api/flows/", b'{"name": "planted"}'),
    "mlflow": ("/ajax-api/2.0/mlflow/experiments/create", b'{"name": "planted"}'),
}


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
@pytest.mark.slow
def test_pages_of_other_sites_are_refused(served: dict[str, Server], server: str) -> None:
    url = served[server].url
    read, (written, payload) = url + READ[server], WRITTEN[server]
    assert status(read) == 200
    for host in ("attacker.example", f"attacker.example:{url.rpartition(':')[2]}", f"{HOST}:1", HOST):
        assert status(read, Host=host) == 403, host
        assert status(url + written, payload, Host=host) == 403, host
    for origin in STRANGE:
        assert ask(read, Origin=origin)[1]["Access-Control-Allow-Origin"] is None, origin
        assert status(url + written, payload, Origin=origin) == 403, origin
        assert status(url + written, payload, Origin=origin, **{"Content-Type": "text/plain"}) == 403, origin
    if server == "prefect":
        for headers in ({}, {"Origin": url}, {"Prefect-Csrf-Token": "guess", "Prefect-Csrf-Client": "planted"}):
            assert status(url + written, payload, **headers) == 403, "without a token of Prefect's"
        with SyncPrefectClient(f"{url}/api") as client:
            assert client.create_flow_from_name("own")
    for own in (url, url.replace(HOST, "localhost")):
        assert ask(read, Origin=own)[1]["Access-Control-Allow-Origin"] == own
        assert status(read, Host=urlsplit(own).netloc) == 200
    assert ask(url)[1]["X-Frame-Options"] or "frame-ancestors 'none'" in ask(url)[1]["Content-Security-Policy"]


@pytest.mark.slow
def test_what_pages_of_other_sites_sent_is_nowhere(served: dict[str, Server]) -> None:
    with SyncPrefectClient(f"{served['prefect'].url}/api") as client:
        assert [one.name for one in client.read_flows() if one.name == "planted"] == []
    assert MlflowClient(served["mlflow"].url).get_experiment_by_name("planted") is None


@pytest.mark.slow
def test_events_and_logs_are_sent_to_own_pages_alone(served: dict[str, Server]) -> None:
    url = served["prefect"].url.replace("http://", "ws://")
    for path in ("/api/events/out", "/api/events/in", "/api/logs/out"):
        for strange in STRANGE:
            with pytest.raises(InvalidStatus, match="403"):
                connect(url + path, origin=strange)
        there = socket.create_connection((HOST, urlsplit(url).port))
        with there, pytest.raises(InvalidStatus, match="403"):
            connect(url.replace(HOST, "attacker.example") + path, sock=there)
        connect(url + path, origin=served["prefect"].url).close()


@pytest.mark.slow
def test_a_jobs_server_answers_that_job_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "ROYALTY_HOME": str(tmp_path / "home")}
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME"):
        environment.pop(name, None)
    command = [sys.executable, "-c", JOB]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.stdout.splitlines() == ["401 Completed", "True False"], done.stderr
    assert done.stderr == ""

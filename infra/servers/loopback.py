"""Prefect and MLflow servers as child processes on the loopback address."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from royalty.infra.processes.machine import HOST, SAFE_PATH, free_port
from royalty.infra.settings import Settings
from royalty.infra.stores.artifacts import StoreError, write_whole
from royalty.infra.stores.private import keep_private, umask
from royalty.infra.stores.templates import template

STARTUP_SECONDS = 120
SHUTDOWN_SECONDS = 10

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_CLI_PROMPT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "DO_NOT_TRACK": "1",
    "DASK_LOGGING__DISTRIBUTED": "error",
    "PYTHONWARNINGS": "ignore",
}
"""Environment of both libraries: no telemetry, and no output besides that of the job."""

WITHOUT_SCHEDULES = {
    **{
        f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
        for service in (
            "CANCELLATION_CLEANUP",
            "CLEANUP_RECONCILER",
            "DB_VACUUM",
            "FOREMAN",
            "LATE_RUNS",
            "PAUSE_EXPIRATIONS",
            "REPOSSESSOR",
            "SCHEDULER",
            "TRIGGERS",
        )
    },
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",  # which imports integrations too
}
"""Environment of a server for a single job: services for schedules, and types of blocks, for which every integration is
imported, would only use processor time."""


def configure(settings: Settings) -> None:
    """Set the environment of Prefect and MLflow; call it before importing either."""
    for name, value in {**QUIET, "PREFECT_HOME": str(settings.root / "prefect")}.items():
        os.environ.setdefault(name, value)
    os.environ.update(SAFE_PATH)


class Server:
    """A server that ends on `stop`, and when its parent process ends, however it ends."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        port: int,
        health: str,
        log: Path,
        environment: Mapping[str, str] = {},
        folder: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            folder: where it runs; None: the current folder.
        """
        self.url = f"http://{HOST}:{port}"
        self.health = health
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        keep_private(log)
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*module("royalty.infra.processes.supervise"), *module(*command)],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **SAFE_PATH, **environment},
                cwd=folder,
                umask=umask(log.parent),  # of its databases too
                start_new_session=True,  # Ctrl-C reaches only the job, which then ends its servers in order
            )

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            StoreError: the server ended, or did not answer in time; the message shows the end of its log.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.url + self.health, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.stop()
        tail = self.log.read_text(errors="replace").strip().splitlines()[-5:]
        raise StoreError(
            f"a server did not start within {STARTUP_SECONDS} s at {self.url}; the end of {self.log}:\n"
            + "\n".join(tail)
        )

    def stop(self) -> None:
        """End the server and wait for it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def prefect_server(settings: Settings, *, schedules: bool = True, password: str = "") -> Server:
    """Start Prefect's server with the database in `home/prefect`, on a free port.

    Args:
        schedules: also run the services for schedules and automations.
        password: credentials that every request needs, as `user:password`; none are needed if empty.
    """
    port = free_port()
    database = settings.root / "prefect" / "prefect.db"
    empty = template("prefect")
    if empty.exists() and not database.exists():
        write_whole(database, empty.read_bytes())
    elif database.exists():
        keep_private(database)
    log = settings.root / "prefect" / "server.log"
    environment = {"PREFECT_SERVER_API_AUTH_STRING": password} if password else {}
    return guarded_prefect(port, log, {**environment, **({} if schedules else WITHOUT_SCHEDULES)})


def guarded_prefect(port: int, log: Path, environment: Mapping[str, str]) -> Server:
    """Start Prefect's server on a port, only for its own pages and the programs of this machine."""
    hosts = loopback_hosts(port)
    command = ["royalty.infra.servers.guard", "--host", HOST, "--port", str(port), "--allowed-hosts", hosts]
    has_password = "PREFECT_SERVER_API_AUTH_STRING" in environment  # which no page of another site can send
    pages = {
        "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",  # used by the pages; by default port 4200
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": str(not has_password).lower(),
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}" for host in hosts.split(",")),
    }
    if home := os.environ.get("PREFECT_HOME"):
        pages["PREFECT_HOME"] = str(Path(home).expanduser().absolute())
    # Alembic, by which Prefect makes its tables, imports from the folder that it runs in.
    folder = log.parent.absolute()
    return Server(
        command, port=port, health="/api/health", log=log, environment={**environment, **pages}, folder=folder
    )


def mlflow_server(settings: Settings) -> Server:
    """Start MLflow's server with the tracking store, on a free port."""
    port = free_port()
    folder = settings.root / "mlflow"
    command = mlflow_command(port, folder)
    command += ["--backend-store-uri", settings.tracking_uri, "--default-artifact-root", str(folder / "artifacts")]
    return Server(command, port=port, health="/health", log=folder / "server.log")


def mlflow_command(port: int, folder: Path) -> list[str]:
    """Command of MLflow's server on a port, which imports nothing from the current folder.

    Args:
        folder: folder of the server, from which uvicorn imports instead of the current folder.
    """
    command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", loopback_hosts(port)]
    return [*command, "--uvicorn-opts", shlex.join(["--app-dir", str(folder)])]


def module(name: str, *arguments: str) -> list[str]:
    """Command that runs a module of this environment, and no file of the same name in the current folder."""
    return [sys.executable, "-P", "-m", name, *arguments]


def loopback_hosts(port: int) -> str:
    """Host names that a browser may use for a local server, separated by commas; all others are rejected."""
    return f"{HOST}:{port},localhost:{port}"

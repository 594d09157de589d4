"""Start and end what a command needs for a flow: environment, servers and a display."""

from __future__ import annotations

import atexit
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from royalty.infra.pages.terminal import bars, console, print_announcement
from royalty.infra.processes.progress import progress, shown_on
from royalty.infra.servers.loopback import Server, configure, mlflow_server, prefect_server
from royalty.infra.settings import settings
from royalty.infra.tracking.addresses import experiments_page, run_page
from royalty.infra.workspace import check_home, open_workspace

LOGGED = "track"
"""Name of the stage that logs a run to MLflow."""


@contextmanager
def session(*, show_progress: bool) -> Iterator[Callable[[], None]]:
    """Start a Prefect server, unless the environment or an imported Prefect has one; yield a function to wait for it.

    The caller imports slow modules while the server starts. The server ends after Prefect's own exit handlers, which
    send it the last events.
    """
    configure(settings())
    server: Server | None = None
    loaded = "prefect" in sys.modules  # it has read its settings, and ignores later changes of the environment
    if not os.environ.get("PREFECT_API_URL") and not (loaded and _address()):
        # A password, because other users of this machine can reach its ports; they cannot read this environment.
        os.environ["PREFECT_API_AUTH_STRING"] = password = f"royalty:{secrets.token_hex(16)}"
        server = prefect_server(settings(), schedules=False, password=password)
        if not loaded:  # otherwise this would run before Prefect's exit handlers; the server ends with the process
            atexit.register(server.stop)
        os.environ["PREFECT_API_URL"] = f"{server.url}/api"
    with ExitStack() as stack:
        if loaded and not _address():
            stack.enter_context(_environment_settings())
        if show_progress:
            stack.enter_context(shown_on(stack.enter_context(bars()), print_announcement))
        started = stack.enter_context(progress("Start", 1))

        def wait_for_server() -> None:
            if server is not None:
                server.wait_until_ready()
            started(1)

        yield wait_for_server


def _address() -> str | None:
    """The server that an imported Prefect uses."""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def _environment_settings() -> AbstractContextManager[object]:
    """Make an imported Prefect use the server of the environment."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    values = {
        setting: os.environ[setting.name]
        for setting in (PREFECT_API_URL, PREFECT_API_AUTH_STRING)
        if setting.name in os.environ
    }
    return temporary_settings(values)


def configured() -> None:
    """Set the environment of Prefect and MLflow for a command that starts no server."""
    configure(settings())


def serve_pages() -> None:
    """Run the MLflow and Prefect servers until interrupted."""
    check_home(settings())
    configure(settings())
    servers = {"MLflow": mlflow_server(settings()), "Prefect": prefect_server(settings())}
    try:
        for title, server in servers.items():
            with console.status(f"Starting {title}"):
                server.wait_until_ready()
            address = experiments_page(server.url) if title == "MLflow" else server.url
            console.print(f"{title:12}{address}", soft_wrap=True)
        for logged in _latest_run():
            address = run_page(servers["MLflow"].url, logged["experiments"]["runs"], logged["run"])
            console.print(f"{'Latest run':12}{address}", soft_wrap=True)
        console.print("Press Ctrl-C to stop.")
        while all(server.process.poll() is None for server in servers.values()):
            time.sleep(0.5)
    finally:
        for server in servers.values():
            server.stop()


def _latest_run() -> list[Mapping[str, Any]]:
    """Ids in MLflow of the latest credited run; empty if there is none, or an earlier version logged it."""
    logged = [row.outputs for row in open_workspace(settings()).runs.stages(LOGGED)]
    return [outputs for outputs in logged[-1:] if outputs.get("experiments")]

"""What a command needs around a flow: environment, servers and a display, begun and ended in order."""

from __future__ import annotations

import atexit
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from royalty.infra.pages.terminal import bars, console
from royalty.infra.processes.progress import progress, shown_on
from royalty.infra.servers.loopback import Server, configure, mlflow_server, prefect_server
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home


@contextmanager
def session(*, show_progress: bool) -> Iterator[Callable[[], None]]:
    """Start a Prefect server, unless the environment names one, and yield a function that waits for it.

    What takes long to import is imported while the server starts. The server ends after Prefect's own
    exit handlers, which send it the last events.
    """
    configure(settings())
    server: Server | None = None
    if not os.environ.get("PREFECT_API_URL"):
        # Other users of this machine reach its ports, too; an environment they cannot read.
        os.environ["PREFECT_API_AUTH_STRING"] = password = f"royalty:{secrets.token_hex(16)}"
        server = prefect_server(settings(), schedules=False, password=password)
        atexit.register(server.stop)
        os.environ["PREFECT_API_URL"] = f"{server.url}/api"
    with ExitStack() as shown:
        if show_progress:
            shown.enter_context(shown_on(shown.enter_context(bars())))
        started = shown.enter_context(progress("Start", 1))

        def wait_for_server() -> None:
            if server is not None:
                server.wait_until_ready()
            started(1)

        yield wait_for_server


def configured() -> None:
    """Set the environment of Prefect and MLflow for a command that starts no server."""
    configure(settings())


def serve_pages() -> None:
    """Run both servers until interrupted."""
    check_home(settings().root)
    configure(settings())
    servers = {"MLflow": mlflow_server(settings()), "Prefect": prefect_server(settings())}
    try:
        for title, server in servers.items():
            with console.status(f"Starting {title}"):
                server.wait_until_ready()
            console.print(f"{title:8}{server.url}")
        console.print("Press Ctrl-C to stop.")
        while all(server.process.poll() is None for server in servers.values()):
            time.sleep(0.5)
    finally:
        for server in servers.values():
            server.stop()

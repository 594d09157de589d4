"""The servers of `compose.yaml` as temporary local processes: PostgreSQL, Prefect and MLflow on the loopback address.

python -m royalty.infra.servers.local_stack                        # prints the environment, until Ctrl-C
python -m royalty.infra.servers.local_stack -- COMMAND [ARGUMENT...]   # runs a command with it
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from royalty.infra.processes.machine import free_port
from royalty.infra.servers.loopback import QUIET, Server, guarded_prefect, mlflow_command
from royalty.infra.servers.postgres import Postgres, throwaway_postgres
from royalty.infra.settings import masked
from royalty.infra.stores.artifacts import StoreError

URLS = ("PREFECT_API_URL", "ROYALTY_MLFLOW_URI", "ROYALTY_DATABASE_URL")


@contextmanager
def local_stack() -> Iterator[dict[str, str]]:
    """Start the servers, with a database each for Prefect, MLflow and Royalty; their data is removed at the end.

    Yields:
        The environment variables with which `royalty` uses them.

    Raises:
        StoreError: a server does not start; the others are stopped.
    """
    with ExitStack() as stack:
        database = stack.enter_context(throwaway_postgres())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="royalty-stack-")))
        servers = []
        for start in (_prefect, _mlflow):  # in parallel: each takes many seconds to create its tables
            servers.append(start(database, folder))
            stack.callback(servers[-1].stop)
        for server in servers:
            server.wait_until_ready()
        prefect, mlflow = servers
        urls = (f"{prefect.url}/api", mlflow.url, database.create_database("royalty"))
        yield {**dict(zip(URLS, urls, strict=True)), "MLFLOW_TRACKING_URI": mlflow.url}


def _prefect(database: Postgres, folder: Path) -> Server:
    port = free_port()
    # Passed in the environment: all users of the machine can read a command line, and a password in it.
    url = database.create_database("prefect").replace("+psycopg", "+asyncpg")
    environment = {**QUIET, "PREFECT_HOME": str(folder), "PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
    return guarded_prefect(port, folder / "prefect.log", environment)


def _mlflow(database: Postgres, folder: Path) -> Server:
    port = free_port()
    return Server(
        [*mlflow_command(port, folder), "--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")],
        port=port,
        health="/health",
        log=folder / "mlflow.log",
        environment={**QUIET, "MLFLOW_BACKEND_STORE_URI": database.create_database("mlflow")},
    )


def main() -> int:
    """Run the command, or wait for Ctrl-C; return the command's exit code."""
    command = sys.argv[1:]
    if command and command[0] != "--":
        sys.stderr.write(f"put `--` before the command; got {shlex.join(command)}\n")
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with local_stack() as environment:
            if not command[1:]:
                for name, value in environment.items():
                    print(f"export {name}={shlex.quote(value)}", flush=True)
                sys.stderr.write("Press Ctrl-C to stop the servers and remove their data.\n")
                signal.pause()
            for name in URLS:
                sys.stderr.write(f"{name}={masked(environment[name])}\n")
            return subprocess.run(command[1:], env={**os.environ, **environment}).returncode
    except KeyboardInterrupt:
        return 130
    except (StoreError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""A temporary PostgreSQL server on the loopback address, from the binaries of the distribution."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from royalty.infra.processes.machine import HOST, free_port
from royalty.infra.servers.loopback import SHUTDOWN_SECONDS, module
from royalty.infra.stores.artifacts import StoreError

USER = "royalty"
STARTUP_SECONDS = 30
PLACES = Path("/usr/lib/postgresql")
"""Debian's folder of the binaries of each version; other distributions have them on PATH."""


@contextmanager
def throwaway_postgres() -> Iterator[Postgres]:
    """Start a server in a temporary folder, which is removed at the end.

    Raises:
        StoreError: there are no binaries, or the server does not start.
    """
    # Not in the folder of a test, whose parents only root may read: the server runs as another user.
    with tempfile.TemporaryDirectory(prefix="royalty-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Postgres:
    """A server that can be stopped and restarted; when its parent ends, however it ends, server and data are removed.

    Synchronous writes are off: its data need not survive a power failure.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        secret = folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password, encoding="ascii")
        if self._as_user:
            shutil.chown(secret, "postgres", "postgres")
        options = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-locale"]
        self._run([binary("initdb"), "-D", str(self._data), *options, "--no-sync"])

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        """URL of a database for SQLAlchemy; the database must exist, see `create_database`."""
        return f"postgresql+psycopg://{USER}:{self.password}@{HOST}:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        command = [binary("createdb"), "-h", HOST, "-p", str(self.port), "-U", USER, name]
        self._run(command, {"PGPASSWORD": self.password})
        return self.url(name)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            StoreError: the server does not answer in time; the message shows the end of its log.
        """
        settings = {"fsync": "off", "listen_addresses": HOST, "unix_socket_directories": "", "port": self.port}
        command = [*self._as_user, binary("postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = self.folder / "server.log"
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [*module("royalty.infra.processes.supervise"), "--of", str(self.folder), *command],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        probe = [binary("pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        deadline = time.monotonic() + STARTUP_SECONDS
        while subprocess.run(probe).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = "\n".join(log.read_text(errors="replace").strip().splitlines()[-5:])
                raise StoreError(f"PostgreSQL did not start within {STARTUP_SECONDS} s; the end of {log}:\n{tail}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server and all its connections."""
        if self._process is None:
            return
        if (self._data / "postmaster.pid").exists():
            self._run([binary("pg_ctl"), "-D", str(self._data), "stop", "-m", "immediate", "-t", "20"])
        try:
            self._process.communicate(b".", SHUTDOWN_SECONDS)  # an ordered end: the folder is kept for another start
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _run(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        done = subprocess.run(
            [*self._as_user, *command],
            env={**os.environ, **(environment or {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StoreError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")


def binary(name: str) -> str:
    """Path of a PostgreSQL program, in the newest installed version.

    Raises:
        StoreError: PostgreSQL is not installed.
    """
    candidates = sorted(PLACES.glob(f"*/bin/{name}"), key=lambda path: int(path.parent.parent.name))
    path = str(candidates[-1]) if candidates else shutil.which(name)
    if path is None:
        raise StoreError(f"`{name}` was not found; install PostgreSQL (`apt-get install postgresql`), or extend PATH")
    return path

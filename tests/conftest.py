"""What tests share: homes, servers and a finished run; in which order they run, and which need a program."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

from royalty.infra.servers.loopback import QUIET, prefect_server
from royalty.infra.servers.postgres import Postgres, binary, throwaway_postgres
from royalty.infra.settings import Settings
from royalty.infra.stores.artifacts import StoreError
from tests.browser import CHROMIUM
from tests.published import untraceable

if TYPE_CHECKING:
    from tests.watching import Watch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many tests run at once as there are cores

# By the clock, which other work on the machine moves, no draw and no case is too slow.
hypothesis.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.load_profile("busy")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ROYALTY = Path(sys.executable).with_name("royalty")

LONG = 1200
"""Seconds after which something hangs, however much else this machine has to do."""

SMALL = """
data: {source: digits, contributors: 3, concentration: 1.0}
classifier: {steps: 100}
generator: {steps: 60, batch_size: 32, block_channels: [8, 16]}
sampling: {images: 64, steps: 4}
pruning: {recovery_steps: 5}
coalitions: {count: 12, finetune_steps: 4, batch_size: 16}
credit: {bootstrap: 100}
matching: {encoder: pixels, rerank: none, images: 16}
payout: {post: true, limits: {stderr: null}}
"""
"""A configuration that runs the whole flow in seconds."""

WITHOUT_BOOTSTRAP = SMALL.replace("credit: {bootstrap: 100}\n", "")
"""The same where credit is estimated otherwise, and the bootstrap does nothing."""

FOLDER = SMALL.replace(
    "data: {source: digits, contributors: 3, concentration: 1.0}", "data: {source: folder, path: images, size: 8}"
)
"""The same on a folder of images beside the configuration."""


def save_digits(folder: Path, owners: Sequence[str]) -> list[Path]:
    """A folder of digits, one a contributor listed, half of them in a folder of its own; their files."""
    # These take seconds to import, which most tests need not wait for.
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    scans, rows = load_digits(), ["file_name,contributor,label"]
    files: list[Path] = []
    (folder / "sub").mkdir(parents=True)
    for index, owner in enumerate(owners):
        name = f"sub/{index}.png" if index % 2 else f"{index}.png"
        files.append(folder / name)
        Image.fromarray((scans.images[index] * 15).astype(np.uint8)).save(files[-1])
        rows.append(f"{name},{owner},{scans.target[index] // 4}")
    (folder / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    return files


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread, where the same sums are the same to the last bit."""
    import torch  # takes seconds, which most tests of the command line need not wait for

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test session that all its processes share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def locked(file: Path, kind: int) -> Iterator[None]:
    """Hold a lock on a file; one that the death of this process ends, too."""
    with file.open("a") as stream:
        fcntl.flock(stream, kind)
        yield


@pytest.fixture
def new_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of this test, for tasks that are called without a flow."""
    from royalty.infra.settings import settings

    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Contexts that are left at the end of a test."""
    with ExitStack() as contexts:
        yield contexts


@pytest.fixture(scope="session")
def prefect_url(shared_folder: Path) -> Iterator[str]:
    """A Prefect server of this test session, for tests that are not about starting one.

    The first process to need it starts it, and keeps it until no other uses it.
    """
    home, address = shared_folder / "prefect-server", shared_folder / "prefect-url"
    users, starting = shared_folder / "prefect-users", shared_folder / "prefect-starting"
    os.environ["PREFECT_HOME"] = str(home / "prefect")
    server = None
    with locked(users, fcntl.LOCK_SH):
        with locked(starting, fcntl.LOCK_EX):
            if not address.exists():
                server = prefect_server(Settings(home=home))
                server.wait_until_ready()
                address.write_text(f"{server.url}/api", encoding="utf-8")
        yield address.read_text(encoding="utf-8")
    if server is not None:
        with locked(users, fcntl.LOCK_EX):
            address.unlink()
            server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test session; who stops it starts it again."""
    with throwaway_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """URL of an empty database of this test's."""
    return postgres.create_database(f"test_{secrets.token_hex(8)}")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Units come first, and what starts programs last; of those, what takes longest first.

    One test of the shared run is before all, so that one process makes the run while the other waits for nothing.
    """
    for item in items:
        if "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker("postgres")
    yield  # tests that are not asked for are left out
    items.sort(key=_place)
    sharing = next((item for item in items if "credited" in getattr(item, "fixturenames", ())), None)
    if sharing is not None:
        items.remove(sharing)
        items.insert(0, sharing)


def pytest_collection_finish() -> None:
    """Leave what was imported out of the searches for garbage, which would look through all of it again and again."""
    gc.collect()
    gc.freeze()


def _place(item: pytest.Item) -> int:
    """Where a test stands in the order; those of a file stay together."""
    first = [room for room, folder in enumerate(UNITS) if f"/{folder}/" in str(item.path)]
    starts = any(item.get_closest_marker(name) for name in PROGRAMS)
    return len(UNITS) * starts + (first[0] if first else len(UNITS) - 1)


UNITS = ("models", "infra", "docs", "")
PROGRAMS = ("cli", "kill", "cluster", "slow")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a program that is not installed, and say how to get it."""
    for name, missing in MISSING.items():
        if item.get_closest_marker(name) and (reason := missing()):
            pytest.skip(reason)


def without_browser() -> str:
    found = shutil.which(CHROMIUM)
    return "" if found else f"there is no `{CHROMIUM}`; install it (`apt-get install chromium`), or put it on PATH"


def without_postgres() -> str:
    try:
        binary("initdb")
    except StoreError as missing:
        return str(missing)
    return ""


MISSING = {"browser": without_browser, "postgres": without_postgres}
"""By a marker, why a test that has it cannot run here; nothing if it can."""


def environment_of(home: Path) -> dict[str, str]:
    """Environment of a command with this home, without what the tests or a user set for Prefect or MLflow."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ROYALTY_"))}
    return {name: value for name, value in outside.items() if name not in QUIET} | {
        "ROYALTY_HOME": str(home),
        "ROYALTY_WORKERS": "2",
    }


@pytest.fixture
def environment(tmp_path: Path, prefect_url: str) -> dict[str, str]:
    """Environment of a command line whose home is this test's, and whose server is the session's."""
    server = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": prefect_url}
    return environment_of(tmp_path / "home") | server


@dataclass(frozen=True)
class Credited:
    """A finished run of `small.yaml`, by the installed command, without a server that is set.

    Attributes:
        folder: holds `small.yaml` and the home.
        done: what the command wrote.
        left: command lines of the processes that it left running.
    """

    folder: Path
    done: subprocess.CompletedProcess[str]
    left: list[str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def copy_to(self, folder: Path) -> Path:
        """The home of this run, in another folder that has its configuration, too."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        moved(folder / "home" / "mlflow" / "mlflow.db", str(self.home), str(folder / "home"))
        return folder / "home"


def moved(database: Path, old: str, new: str) -> None:
    """Let a database of MLflow, which writes whole paths, find files where they are now."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            for _, column, kind, *_ in connection.execute(f"pragma table_info({table})").fetchall():
                if "CHAR" in kind or kind == "TEXT":
                    connection.execute(f"update {table} set {column} = replace({column}, ?, ?)", (old, new))


@pytest.fixture(scope="session")
def credited(shared_folder: Path) -> Credited:
    """A run of this test session, made once for all its processes; to be copied by whoever changes its home."""
    folder, written = shared_folder / "credited", shared_folder / "credited.json"
    with locked(shared_folder / "crediting", fcntl.LOCK_EX):
        if not written.exists():
            folder.mkdir()
            (folder / "small.yaml").write_text(SMALL)
            home = folder / "home"
            done = subprocess.run(
                [ROYALTY, "run", "--config", "small.yaml"],
                env=environment_of(home) | {"PREFECT_HOME": str(home / "prefect")},
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=LONG,
            )
            written.write_text(json.dumps([done.returncode, done.stdout, done.stderr, processes_of(home)]))
    code, out, err, left = json.loads(written.read_text())
    assert code == 0, err
    return Credited(folder, subprocess.CompletedProcess(["royalty", "run"], code, out, err), left)


def processes_of(home: Path) -> list[str]:
    """Command lines of the processes that work in a home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(home).encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture
def royalty(environment: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """Run a command line to its end, in this process; afterwards every MLflow run that it published can be traced."""
    from tests.in_process import command  # imports the orchestration, which many tests can do without

    def run(*arguments: str, **overrides: str) -> subprocess.CompletedProcess[str]:
        return command(*arguments, folder=tmp_path, environment={**environment, **overrides})

    yield run
    assert untraceable(tmp_path / "home") == []


@pytest.fixture
def watch() -> Iterator[Watch]:
    """The stages of this test's flows run inline and are watched; afterwards the key of each covers what it ran."""
    from tests.watching import watching  # imports torch

    with watching() as watch:
        yield watch
    assert watch.stages
    assert watch.uncovered == {}


@pytest.fixture
def installed(environment: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """The same with the installed command, in a process of its own."""

    def run(*arguments: str, **overrides: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROYALTY, *arguments],
            env={**environment, **overrides},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LONG,
        )

    yield run
    assert untraceable(tmp_path / "home") == []

"""What tests share: a home of their own, and one Prefect and one PostgreSQL server for all that need one."""

from __future__ import annotations

import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from royalty.infra.servers.loopback import prefect_server
from royalty.infra.servers.postgres import Postgres, throwaway_postgres
from royalty.infra.settings import Settings
from tests.published import untraceable

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ROYALTY = Path(sys.executable).with_name("royalty")

SMALL = """
data: {source: digits, contributors: 3, concentration: 1.0}
classifier: {steps: 100}
generator: {steps: 60, batch_size: 32, block_channels: [8, 16]}
sampling: {images: 64, steps: 4}
pruning: {recovery_steps: 5}
coalitions: {count: 12, finetune_steps: 4, batch_size: 16}
credit: {bootstrap: 100}
matching: {encoder: pixels, rerank: none, images: 16}
"""
"""A configuration that runs the whole flow in seconds."""

FOLDER = SMALL.replace(
    "data: {source: digits, contributors: 3, concentration: 1.0}", "data: {source: folder, path: images, size: 8}"
)
"""The same on a folder of images beside the configuration."""


def save_digits(folder: Path, owners: Sequence[str]) -> list[Path]:
    """A folder of digits, one a contributor listed, half of them in a folder of its own; their files."""
    from sklearn.datasets import load_digits  # takes seconds to import, which most tests need not wait for

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


@pytest.fixture
def environment(tmp_path: Path, prefect_url: str) -> dict[str, str]:
    """Environment of a command line whose home is this test's, and whose server is the session's."""
    return {
        **os.environ,
        "ROYALTY_HOME": str(tmp_path / "home"),
        "ROYALTY_WORKERS": "2",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": prefect_url,
    }


@pytest.fixture
def royalty(environment: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """Run a command line to its end, in this process; afterwards every MLflow run that it published can be traced."""
    from tests.in_process import command  # imports the orchestration, which many tests can do without

    def run(*arguments: str, **overrides: str) -> subprocess.CompletedProcess[str]:
        return command(*arguments, folder=tmp_path, environment={**environment, **overrides})

    yield run
    assert untraceable(tmp_path / "home") == []


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
            timeout=240,
        )

    yield run
    assert untraceable(tmp_path / "home") == []

"""A folder in which somebody has put modules by the names of libraries: nothing that is started there imports them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROYALTY

ROOT = Path(__file__).parent.parent.parent
NAMES = ("prefect", "mlflow", "torch", "json", "uvicorn", "infra", "signal", "selectors", "sqlalchemy", "numpy")

CHILD = """
from royalty.infra.servers.postgres import throwaway_postgres
from royalty.infra.processes.workers import Reference, preload, run_in_process

if __name__ == "__main__":
    preload("torch", "json")
    print(run_in_process(Reference("tests.infra.test_processes", "add"), 2, 3, advance=print))
    with throwaway_postgres():
        pass
"""


@pytest.fixture
def trapped(tmp_path: Path) -> Iterator[Path]:
    """The folder; at the end, no module of it has run."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + ' ')")
    yield folder
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


@pytest.mark.cli
@pytest.mark.slow
def test_servers_import_nothing_of_the_current_folder(trapped: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "ROYALTY_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    environment.pop("PREFECT_HOME", None)
    with subprocess.Popen(
        [ROYALTY, "ui"], cwd=trapped, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pages:
        assert pages.stdout is not None
        lines = []
        for line in pages.stdout:
            lines.append(line)
            if "Press Ctrl-C" in line:
                break
        pages.send_signal(signal.SIGINT)
        assert "Press Ctrl-C" in lines[-1], "".join(lines)


@pytest.mark.postgres
def test_processes_import_nothing_of_the_current_folder(trapped: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CHILD)
    command = [sys.executable, str(tmp_path / "script.py")]  # as the command line is started
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(command, cwd=trapped, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "2\n5\n", done.stderr

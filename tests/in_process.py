"""Flows and commands in the process of a test: in a home of their own, with the session's server.

What a command imports takes twelve seconds of a processor, each time that it is started. Here it is called: it reads
the same arguments and environment, writes to the same streams and exits with the same code. Its workers are processes,
as ever, unless they are called inline.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from royalty.flows.cli.app import main
from royalty.infra.processes.workers import preload
from royalty.infra.settings import Settings, settings
from royalty.infra.stores import keys
from royalty.infra.tracking.client import open_tracking
from royalty.infra.workspace import open_workspace
from royalty.tasks.credit import coalitions
from royalty.tasks.stages import running
from royalty.tasks.stages.context import open_stores

Inline = Callable[..., Any]

TASKS = Path(running.__file__).parent.parent
WORKERS = [f"royalty.tasks.{file.parent.name}.{file.stem}" for file in sorted(TASKS.glob("*/*_worker.py"))]
"""Modules of what runs in processes of its own, in all flows."""

# One server forks the workers of all tests of this process, and what it did not import when it started, each imports.
preload(*WORKERS)

OF_A_HOME = (settings, open_workspace, open_tracking, open_stores)
"""What a process finds out, or opens, once: it has one home, and the next test another."""


def forget_homes() -> None:
    for known in OF_A_HOME:
        known.cache_clear()


@contextmanager
def own_home(home: Path, prefect_url: str) -> Iterator[None]:
    """Flows that begin here keep what they make in this home, and tell this server of it."""
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: prefect_url}):
        patch.setenv("ROYALTY_HOME", str(home))
        forget_homes()
        yield
    forget_homes()


@contextmanager
def settings_of(here: Settings) -> Iterator[None]:
    """`settings()` gives the home and the database of these.

    The function itself stays: a module that is first imported meanwhile keeps it for all later tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROYALTY_HOME", str(here.root))
        if here.database_url:
            patch.setenv("ROYALTY_DATABASE_URL", here.database_url)
        forget_homes()
        yield
    forget_homes()


@contextmanager
def inline_workers(call: Inline | None = None) -> Iterator[None]:
    """What runs in processes of its own is called in the flow's own process.

    Args:
        call: is called in place of the worker, with it and its arguments.
    """

    def run_in_process(function: Callable[..., Any], *arguments: Any, advance: Any, **_: Any) -> Any:
        reports: list[Any] = []  # as through a pipe: who started the worker takes them
        result = (call or called)(function, *arguments, reports.append)
        for report in reports:
            advance(report)
        return result

    with pytest.MonkeyPatch.context() as patch:
        for module in (running, coalitions):
            patch.setattr(module, "run_in_process", run_in_process)
        yield


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def command(*arguments: str, folder: Path, environment: Mapping[str, str]) -> CompletedProcess[str]:
    """Run a command line to its end, in this process.

    Args:
        folder: in which it is run.
        environment: all of it.
    """
    out, err = io.StringIO(), io.StringIO()
    with _process(arguments, folder, environment), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
        except Exception:  # noqa: BLE001  whatever it is, a process writes it and exits with 1
            traceback.print_exc()
            code = 1
    assert isinstance(code, int), code
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextmanager
def _process(arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """What belongs to a process as a whole, as a new one has it; afterwards as it was."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before, path, here = dict(os.environ), list(sys.path), Path.cwd()
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}),
    ):
        patch.setattr(sys, "argv", ["royalty", *arguments])
        os.environ.clear()
        os.environ.update({**environment, "COLUMNS": "80"})
        os.chdir(folder)
        sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
        importlib.invalidate_caches()
        forget_homes()
        gc.freeze()  # what is older is not looked through below or by later tests, which takes most of a second
        try:
            yield
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)
            sys.path[:] = path
            for number, handler in handlers.items():
                signal.signal(number, handler)
            _forget_modules_of(folder)
            forget_homes()
            gc.collect()  # engines of databases that nobody uses any more


def _forget_modules_of(folder: Path) -> None:
    """Let the next test import modules of its own by the names of a user's, such as that of a property."""
    named = [
        name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(f"{folder}/")
    ]
    for name in named:
        del sys.modules[name]
    if named:
        for known in (keys.code_version, keys.modules_run_by, keys._module, keys._origin, keys._is_library):
            known.cache_clear()

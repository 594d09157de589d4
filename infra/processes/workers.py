"""Run a function in a separate process: a crash, a hang or a kill becomes an exception in the caller."""

from __future__ import annotations

import atexit
import importlib
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from royalty.infra.errors import UserError
from royalty.infra.processes.machine import BEFORE_FORK, HOST, SAFE_PATH, free_port
from royalty.infra.stores.artifacts import StoreError

# Children are forked from a server that has imported the numerics once and started no threads. Each starts in
# milliseconds with a clean state, and frees its memory when it ends.
_context = multiprocessing.get_context("forkserver")
_preloaded: set[str] = set()
_running: set[BaseProcess] = set()
_stopped = threading.Event()
atexit.register(_stopped.set)  # before multiprocessing, at its own exit, kills what still runs


Result = TypeVar("Result")


class ProcessFailed(UserError, RuntimeError):
    """The process raised, died or ran out of time."""


class ProcessEnded(ProcessFailed):
    """The process was killed or ran out of time; its work may need more than this machine has."""


@dataclass(frozen=True)
class Reference:
    """A function whose module is imported when the function is called, in the calling process."""

    module: str
    name: str

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return getattr(importlib.import_module(self.module), self.name)(*arguments, **keywords)


class Deferred:
    """Placeholder for a module whose import takes seconds, in a process that only refers to its functions.

    The real import under `TYPE_CHECKING` next to it gives type checkers the module's types.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return Reference(self._module, name)


def module_of(function: Callable[..., Any]) -> str:
    """The name of the module of a function or reference."""
    return function.module if isinstance(function, Reference) else function.__module__


def preload(*modules: str) -> None:
    """Import modules in the server that processes are forked from, in the background, before they are needed."""
    if not _preloaded.issuperset(modules):
        _preloaded.update(modules)
        os.environ.update(SAFE_PATH | BEFORE_FORK)  # the fork server is started with `python -c`
        _context.set_forkserver_preload(["__main__", *sorted(_preloaded)])  # children import the main module too
        forkserver.ensure_running()


def run_in_process(
    function: Callable[..., Result],
    *arguments: Any,
    advance: Callable[[Any], object],
    modules: Sequence[str] = (),
    timeout: float | None = None,
    mendable: tuple[type[Exception], ...] = (),
    processes: int = 1,
) -> Result:
    """Call a function in a new process and return its result, which must be picklable.

    Args:
        function: a function of a module, or a `Reference` to one, so that this process need not import its module.
            It is called with the arguments and, last, a function for reports.
        advance: called here with each report: steps of progress, or finished rows.
        modules: modules that the function will import, to preload in the server that processes are forked from.
        timeout: seconds after which the process is killed.
        mendable: exceptions that a user can fix, which are raised here unchanged.
        processes: number of processes that call the function at once. They find each other by the environment variables
            that torch's launcher sets. The first one reports and returns; if one fails, all are ended.

    Raises:
        ProcessFailed: the function raised, with its traceback; a `ProcessEnded` gives the signal or the time limit.
        StoreError: raised by the function.
    """
    preload(module_of(function), *modules)
    if multiprocessing.current_process().daemon:
        multiprocessing.current_process().daemon = False  # Dask's workers are daemons, which may not have children
    pause(0)
    started = [_start(function, arguments, (StoreError, *mendable), peers) for peers in _environments(processes)]
    receivers = {receiver: process for process, receiver in started}
    first, result = started[0][1], None
    try:
        deadline = None if timeout is None else time.monotonic() + timeout
        while receivers:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait(list(receivers), left)
            if not ready:
                raise ProcessEnded(f"ended because it took longer than {timeout:.0f} s; raise its `timeout_minutes`")
            for receiver in ready:
                assert isinstance(receiver, Connection)
                kind, content = _received(receiver, receivers[receiver])
                if kind == "result":
                    del receivers[receiver]
                if receiver is first and kind == "progress":
                    advance(content)
                elif receiver is first:
                    result = content
        return cast(Result, result)
    finally:
        for process, _ in started:
            process.kill()
        for process, _ in started:
            process.join(10)
            _running.discard(process)


def _environments(processes: int) -> list[dict[str, str]]:
    """Environment variables of torch.distributed for each of several local processes; empty for a single process."""
    if processes == 1:
        return [{}]
    common = {"MASTER_ADDR": HOST, "MASTER_PORT": str(free_port())}
    common |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(processes))
    return [common | dict.fromkeys(("RANK", "LOCAL_RANK"), str(index)) for index in range(processes)]


def _start(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    mendable: tuple[type[Exception], ...],
    environment: dict[str, str],
) -> tuple[BaseProcess, Connection]:
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_call, args=(sender, function, arguments, mendable, environment), daemon=True)
    process.start()
    _running.add(process)
    sender.close()
    return process, receiver


def _received(receiver: Connection, process: BaseProcess) -> tuple[str, Any]:
    """Receive the next message of a process: progress or the result.

    Raises:
        ProcessFailed: the process failed, or ended without a result.
        Exception: an exception that the user can fix.
    """
    try:
        kind, content = receiver.recv()
    except EOFError:
        process.join(10)
        if _stopped.is_set():
            raise ProcessFailed("the run was interrupted") from None
        killed = process.exitcode is not None and process.exitcode < 0
        failure = ProcessEnded if killed else ProcessFailed
        raise failure(f"ended without a result: {_cause(process.exitcode)}") from None
    if kind == "mendable":
        raise content
    if kind == "failure":
        raise ProcessFailed(content)
    return kind, content


def pause(seconds: float) -> None:
    """Wait, unless the run is interrupted.

    Raises:
        ProcessFailed: the run was interrupted.
    """
    if _stopped.wait(seconds):
        raise ProcessFailed("the run was interrupted")


def stop_all() -> None:
    """End all processes and prevent new ones, when the command line is interrupted."""
    _stopped.set()
    logging.disable()  # otherwise every task that waits for a worker would log its cancellation
    for process in list(_running):
        process.kill()


def _call(
    sender: Connection,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    mendable: tuple[type[Exception], ...],
    environment: dict[str, str],
) -> None:
    os.environ.update(environment)
    # Ctrl-C reaches the whole process group; the parent decides which processes end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    try:
        message = ("result", function(*arguments, lambda report: sender.send(("progress", report))))
    except mendable as error:
        message = ("mendable", error)
    except Exception:  # noqa: BLE001  the parent raises it
        message = ("failure", traceback.format_exc())
    sender.send(message)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"exit code {exitcode}"

"""A function in a process of its own: a crash, a hang or a kill becomes an exception here."""

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

from royalty.infra.processes.machine import HOST, SAFE_PATH, free_port
from royalty.infra.stores.artifacts import StoreError

# Children are forked from a server that has imported the numerics once and started no thread, so
# each starts in milliseconds with a clean state, and its memory returns when it ends.
_context = multiprocessing.get_context("forkserver")
_preloaded: set[str] = set()
_running: set[BaseProcess] = set()
_stopped = threading.Event()
atexit.register(_stopped.set)  # before multiprocessing, at its own exit, kills what still runs


Result = TypeVar("Result")


class ProcessFailed(RuntimeError):
    """The process raised, died or ran out of time."""


class ProcessEnded(ProcessFailed):
    """The process was killed, or ran out of time: what it was given may be too much for this machine."""


@dataclass(frozen=True)
class Reference:
    """A function of a module that is imported when it is called, in the process that calls it."""

    module: str
    name: str

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(self.module), self.name)(*arguments, **named)


class Deferred:
    """Stands for a module whose import takes seconds, in a process that only names its functions.

    Beside it, under `TYPE_CHECKING`, stands the import, so that types are checked as if it had been imported.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return Reference(self._module, name)


def module_of(function: Callable[..., Any]) -> str:
    """The module of a function, or of what a reference stands for."""
    return function.module if isinstance(function, Reference) else function.__module__


def preload(*modules: str) -> None:
    """Let the server of this process import modules now, in the background, before the first call needs them."""
    if not _preloaded.issuperset(modules):
        _preloaded.update(modules)
        os.environ.update(SAFE_PATH)  # the server of processes is a `python -c`
        _context.set_forkserver_preload(["__main__", *sorted(_preloaded)])  # children import the main module, too
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
    """Call a function in a fresh process and return its picklable result.

    Args:
        function: of a module, or a `Reference` to one, so that this process need not import what only that one uses.
            Called with the arguments and, last, a function to report with.
        advance: called here with what the function reports: steps of progress, or rows as they are finished.
        modules: that the function will import, for the server that processes are forked from to have at hand.
        timeout: seconds after which the process is killed.
        mendable: exceptions that a user can mend: they are raised here as they were there.
        processes: that call it at once, and find each other by the variables of their environment that torch's own
            launcher sets. The first reports and returns; if any fails, all end.

    Raises:
        ProcessFailed: with the traceback; a `ProcessEnded` with the signal or the time limit.
        StoreError: as it was raised there.
    """
    preload(module_of(function), *modules)
    if multiprocessing.current_process().daemon:
        multiprocessing.current_process().daemon = False  # of Dask's workers, which may then have children too
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
                raise ProcessEnded(f"took longer than {timeout:.0f} s and was ended; raise its `timeout_minutes`")
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
    """What torch.distributed reads, for each of some processes of this machine; nothing for one alone."""
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
    """What a process says next: its progress or its result.

    Raises:
        ProcessFailed: it failed, or ended without a result.
        Exception: one that the user can mend.
    """
    try:
        kind, content = receiver.recv()
    except EOFError:
        process.join(10)
        if _stopped.is_set():
            raise ProcessFailed("the run was interrupted") from None
        killed = process.exitcode is not None and process.exitcode < 0
        failure = ProcessEnded if killed else ProcessFailed
        raise failure(f"ended without a result, {_cause(process.exitcode)}") from None
    if kind == "mendable":
        raise content
    if kind == "failure":
        raise ProcessFailed(content)
    return kind, content


def pause(seconds: float) -> None:
    """Wait.

    Raises:
        ProcessFailed: the run was interrupted meanwhile, or before.
    """
    if _stopped.wait(seconds):
        raise ProcessFailed("the run was interrupted")


def stop_all() -> None:
    """End every process, and refuse new ones: for an interrupted command line."""
    _stopped.set()
    logging.disable()  # what waits for a worker is cancelled, one by one, which says nothing new
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
    # Ctrl-C reaches the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    try:
        message = ("result", function(*arguments, lambda report: sender.send(("progress", report))))
    except mendable as error:
        message = ("mendable", error)
    except Exception:  # noqa: BLE001  whatever it is, the parent raises it
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

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
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from infra.artifacts import StoreError
from infra.progress import Advance

# Children are forked from a server that has imported the numerics once and started no thread, so
# each starts in milliseconds with a clean state, and its memory returns when it ends.
_context = multiprocessing.get_context("forkserver")
_preloaded: set[str] = set()
_running: set[BaseProcess] = set()
_stopped = threading.Event()
atexit.register(_stopped.set)  # before multiprocessing, at its own exit, kills what still runs


class ProcessFailed(RuntimeError):
    """The process raised, died or ran out of time."""


class ProcessEnded(ProcessFailed):
    """The process was killed, or ran out of time: what it was given may be too much for this machine."""


def preload(*modules: str) -> None:
    """Let the server of this process import modules now, in the background, before the first call needs them."""
    if not _preloaded.issuperset(modules):
        _preloaded.update(modules)
        _context.set_forkserver_preload(sorted(_preloaded))
        forkserver.ensure_running()


def run_in_process(
    function: str,
    *arguments: Any,
    advance: Advance,
    timeout: float | None = None,
    mendable: tuple[type[Exception], ...] = (),
) -> Any:
    """Call a function in a fresh process and return its picklable result.

    Args:
        function: `module.name`; named rather than passed, so that this process need not import what only
            that one uses. Called with the arguments and, last, a function to report progress with.
        advance: called here with what the function reports.
        timeout: seconds after which the process is killed.
        mendable: exceptions that a user can mend: they are raised here as they were there.

    Raises:
        ProcessFailed: with the traceback; a `ProcessEnded` with the signal or the time limit.
        StoreError: as it was raised there.
    """
    preload(function.rpartition(".")[0])
    if multiprocessing.current_process().daemon:
        multiprocessing.current_process().daemon = False  # of Dask's workers, which may then have children too
    pause(0)
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_call, args=(sender, function, arguments, (StoreError, *mendable)), daemon=True)
    process.start()
    _running.add(process)
    sender.close()
    try:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not wait([receiver], left):
                raise ProcessEnded(f"took longer than {timeout:.0f} s and was ended; raise its `timeout_minutes`")
            try:
                kind, content = receiver.recv()
            except EOFError:
                process.join(10)
                if _stopped.is_set():
                    raise ProcessFailed("the run was interrupted") from None
                killed = process.exitcode is not None and process.exitcode < 0
                failure = ProcessEnded if killed else ProcessFailed
                raise failure(f"ended without a result, {_cause(process.exitcode)}") from None
            if kind == "progress":
                advance(content)
            elif kind == "result":
                return content
            elif kind == "mendable":
                raise content
            else:
                raise ProcessFailed(content)
    finally:
        process.kill()
        process.join(10)
        _running.discard(process)


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


def _call(sender: Connection, function: str, arguments: tuple[Any, ...], mendable: tuple[type[Exception], ...]) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    try:
        module, _, name = function.rpartition(".")
        work: Callable[..., Any] = getattr(importlib.import_module(module), name)
        message = ("result", work(*arguments, lambda steps: sender.send(("progress", steps))))
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

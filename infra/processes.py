"""A function in a process of its own: a crash, a hang or a kill becomes an exception here."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

# Children are forked from a server that has imported the numerics once and started no thread, so
# each starts in milliseconds with a clean state, and its memory returns when it ends.
_context = multiprocessing.get_context("forkserver")
_running: set[BaseProcess] = set()
_stopped = threading.Event()


class ProcessFailed(RuntimeError):
    """The process raised, died or ran out of time."""


def preload(*modules: str) -> None:
    """Let the server import these modules now, in the background, before the first call needs them."""
    _context.set_forkserver_preload(list(modules))
    process = _context.Process(target=_nothing, daemon=True)
    process.start()


def run_in_process(function: Callable[..., Any], *arguments: Any, timeout: float) -> Any:
    """Call an importable function in a fresh process and return its picklable result.

    Raises:
        ProcessFailed: with the traceback, the signal or the time limit.
    """
    if _stopped.is_set():
        raise ProcessFailed("the run was interrupted")
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_call, args=(sender, function, arguments), daemon=True)
    process.start()
    _running.add(process)
    sender.close()
    try:
        ready = wait([receiver, process.sentinel], timeout)
        if not ready:
            raise ProcessFailed(f"took longer than {timeout:.0f} s and was ended; raise `coalitions.timeout_minutes`")
        try:
            succeeded, result = receiver.recv()
        except EOFError:
            process.join(10)
            raise ProcessFailed(f"ended without a result, {_cause(process.exitcode)}") from None
        if not succeeded:
            raise ProcessFailed(str(result))
        return result
    finally:
        process.kill()
        process.join(10)
        _running.discard(process)


def stop_all() -> None:
    """End every process, and refuse new ones: for an interrupted command line."""
    _stopped.set()
    for process in list(_running):
        process.kill()


def _call(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    try:
        message = (True, function(*arguments))
    except Exception:  # noqa: BLE001  whatever it is, the parent raises it
        message = (False, traceback.format_exc())
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


def _nothing() -> None:
    """Starting any process makes the server start, and with it the preload."""

"""A function in a process of its own: results, exceptions, kills and hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from royalty.infra.processes.workers import ProcessFailed, run_in_process
from royalty.infra.stores.artifacts import StoreError


def add(left: int, right: int, advance: Callable[[int], None]) -> int:
    advance(2)
    return left + right


def fail(_advance: object) -> None:
    raise ValueError("a reason")


def die(_advance: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill(_advance: object) -> None:
    raise StoreError("the disk is full")


def hang(_advance: object) -> None:
    time.sleep(600)


def meet(advance: Callable[[int], None]) -> list[str]:
    advance(1)
    return [os.environ[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR")]


def lose_one(_advance: object) -> None:
    if os.environ["RANK"] == "1":
        die(_advance)
    hang(_advance)


def test_result_and_progress_come_back_from_another_process() -> None:
    steps: list[int] = []
    assert run_in_process(add, 2, 3, advance=steps.append, timeout=30) == 5
    assert steps == [2]


@pytest.mark.parametrize(
    ("function", "timeout", "message"),
    [
        (fail, None, "ValueError: a reason"),
        (die, None, "killed by SIGKILL"),
        (hang, 1.0, "took longer than 1 s"),
    ],
)
def test_exception_kill_and_hang_are_exceptions_here(
    function: Callable[[object], None], timeout: float | None, message: str
) -> None:
    start = time.monotonic()
    with pytest.raises(ProcessFailed, match=message):
        run_in_process(function, advance=print, timeout=timeout)
    assert time.monotonic() - start < 300


def test_a_full_disk_there_is_a_full_disk_here() -> None:
    with pytest.raises(StoreError, match=r"^the disk is full$"):
        run_in_process(fill, advance=print)


def test_of_several_processes_the_first_reports_and_returns() -> None:
    steps: list[int] = []
    assert run_in_process(meet, advance=steps.append, processes=3) == ["0", "3", "127.0.0.1"]
    assert steps == [1]


def test_nobody_waits_for_a_peer_that_died() -> None:
    start = time.monotonic()
    with pytest.raises(ProcessFailed, match="killed by SIGKILL"):
        run_in_process(lose_one, advance=print, processes=2)
    assert time.monotonic() - start < 300

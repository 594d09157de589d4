"""Flows in the process of a test: in a home of their own, with the session's server, and workers called inline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from royalty.infra.settings import settings
from royalty.tasks.credit import coalitions
from royalty.tasks.stages import running

Inline = Callable[..., Any]


@contextmanager
def own_home(home: Path, prefect_url: str) -> Iterator[None]:
    """Flows that begin here keep what they make in this home, and tell this server of it."""
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: prefect_url}):
        patch.setenv("ROYALTY_HOME", str(home))
        settings.cache_clear()
        yield
    settings.cache_clear()


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

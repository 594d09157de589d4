"""Prefect tasks that are plain functions while a finished run is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prefect import Task

_REPEATING: ContextVar[bool] = ContextVar("repeating", default=False)


class NotFinished(Exception):
    """Something of a run that was to be repeated is not in its stores, and has to be computed."""


@contextmanager
def repeating() -> Iterator[None]:
    """Call tasks as functions, without Prefect's server, and compute nothing: see `check_may_compute`."""
    token = _REPEATING.set(True)
    try:
        yield
    finally:
        _REPEATING.reset(token)


def check_may_compute(what: str) -> None:
    """Check that something may be computed.

    Raises:
        NotFinished: a finished run is being repeated.
    """
    if _REPEATING.get():
        raise NotFinished(what)


class StageTask(Task[Any, Any]):
    """A Prefect task; see `repeating`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not _REPEATING.get():
            return super().__call__(*args, **kwargs)
        kwargs.pop("wait_for", None)  # what Prefect waits for is finished
        return self.fn(*args, **kwargs)


if TYPE_CHECKING:
    from prefect import task
else:

    def task(**options: Any) -> Callable[[Callable[..., Any]], StageTask]:
        """Decorator of the tasks of this package; takes the options of Prefect's."""
        return lambda function: StageTask(function, **options)


__all__ = ["NotFinished", "check_may_compute", "repeating", "task"]

"""Progress of long work, and what is about to happen, shown on a display if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

Advance = Callable[[int], None]
Display = Callable[[str, int], AbstractContextManager[Advance]]

Listener = Callable[[Any], None]

_displays: list[Display] = []
_listeners: list[Listener] = []


@contextmanager
def shown_on(display: Display) -> Iterator[None]:
    """Show the progress of all stages on this display, such as the bars of the command line."""
    _displays.append(display)
    try:
        yield
    finally:
        _displays.remove(display)


def progress(title: str, total: int) -> AbstractContextManager[Advance]:
    """A context that yields a function; call it with the number of steps done since the last call."""
    if not _displays:
        return nullcontext(lambda steps: None)
    return _displays[-1](title, total)


@contextmanager
def announced_to(listener: Listener) -> Iterator[None]:
    """Call a listener with what flows announce, such as a change of a pool before it is posted."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def announce(announcement: Any) -> None:
    """Show an announcement to the last listener; does nothing if there is none."""
    if _listeners:
        _listeners[-1](announcement)

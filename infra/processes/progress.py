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
def shown_on(display: Display, listener: Listener) -> Iterator[None]:
    """Show the progress of all stages on this display, such as the bars of the command line.

    Args:
        listener: shows what flows announce beside the display: a sentence, or the change of a pool before it is posted.
    """
    _displays.append(display)
    _listeners.append(listener)
    try:
        yield
    finally:
        _displays.remove(display)
        _listeners.remove(listener)


def announce(announcement: Any) -> None:
    """Show something before the work that it is about, if progress is shown."""
    for listener in _listeners[-1:]:
        listener(announcement)


def progress(title: str, total: int) -> AbstractContextManager[Advance]:
    """A context that yields a function; call it with the number of steps done since the last call."""
    if not _displays:
        return nullcontext(lambda steps: None)
    return _displays[-1](title, total)

"""Progress of long work, shown on a display if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Advance = Callable[[int], None]
Display = Callable[[str, int], AbstractContextManager[Advance]]

_displays: list[Display] = []


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

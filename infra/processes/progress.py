"""Progress of long work, shown on a display if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Advance = Callable[[int], None]
Display = Callable[[str, int], AbstractContextManager[Advance]]
Announce = Callable[[str], None]

_displays: list[Display] = []
_speakers: list[Announce] = []


@contextmanager
def shown_on(display: Display, speaker: Announce) -> Iterator[None]:
    """Show the progress of all stages on this display, such as the bars of the command line.

    Args:
        speaker: shows a sentence beside the display.
    """
    _displays.append(display)
    _speakers.append(speaker)
    try:
        yield
    finally:
        _displays.remove(display)
        _speakers.remove(speaker)


def announce(sentence: str) -> None:
    """Show a sentence before the work that it is about, if progress is shown."""
    for speaker in _speakers[-1:]:
        speaker(sentence)


def progress(title: str, total: int) -> AbstractContextManager[Advance]:
    """A context that yields a function; call it with the number of steps done since the last call."""
    if not _displays:
        return nullcontext(lambda steps: None)
    return _displays[-1](title, total)

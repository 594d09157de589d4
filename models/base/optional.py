"""Libraries without those that they import only because they are installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Import what looks for optional packages as if these were not installed.

    A package that is imported already is as it was, and afterwards all can be imported as ever; what was imported
    here goes on without them.
    """
    hidden = [package for package in packages if package not in sys.modules]
    for package in hidden:
        sys.modules[package] = None  # type: ignore[assignment]  # Python's mark of a module that cannot be had
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]

"""Import libraries without the optional packages that they import if installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hide_packages(*packages: str) -> Iterator[None]:
    """Make packages look as if they were not installed, for the imports in this context.

    Packages that are already imported stay available. After the context, all packages can be imported again; the
    modules imported in the context continue without them.
    """
    hidden = [package for package in packages if package not in sys.modules]
    for package in hidden:
        sys.modules[package] = None  # type: ignore[assignment]  # None makes Python raise ModuleNotFoundError
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]

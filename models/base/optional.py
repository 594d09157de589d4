"""Packages that may be missing: those of an extra, and those that libraries import if they are installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from royalty.models.base.errors import InputError


def check_installed(package: str, extra: str, asked_by: str) -> None:
    """Check that the package of an extra is installed.

    Args:
        asked_by: the setting that needs it, for the message.

    Raises:
        InputError: it is not; the message names the extra.
    """
    if find_spec(package) is None:
        raise InputError(
            f"{asked_by} needs the package {package}, which is not installed; run `pip install 'royalty[{extra}]'`"
        )


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

"""Prevent child processes of a run from importing the script that started it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_hidden: dict[str, Any] = {}
_users = 0


@contextmanager
def script_not_imported() -> Iterator[None]:
    """Prevent processes started in this context from importing the main module.

    Python's child processes, and Dask's, import the script of the process that started them, in case it defines the
    function to call. A script that calls `royalty.run` without `if __name__ == "__main__":` would then start another
    run in each of them. They find the script by `__file__` and `__spec__` of the main module, which are removed
    meanwhile, as in a notebook.
    """
    global _users
    main = sys.modules["__main__"]
    with _lock:
        if not _users:
            _hidden.update({name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)})
            main.__spec__ = None
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                vars(main).update(_hidden)
                _hidden.clear()

"""Garbage collection, where a million small objects are made at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Make objects that refer to nothing in a circle without the collector going over all of them again and again.

    A fifth of the time of a division goes to that. References are counted meanwhile, so that memory is freed as usual.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()

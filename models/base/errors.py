"""Errors that the user can correct."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """The user's data or settings break a rule; the message states the rule, the value received and the remedy."""


def by_name(name: str, known: Mapping[Any, T], kind: str) -> T:
    """The entry of a registry with this name.

    Raises:
        InputError: there is none; the message suggests the nearest names, or lists all of them.
    """
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, cutoff=0.4)
    hint = f"did you mean {' or '.join(nearest)}? There are" if nearest else "there are"
    raise InputError(f"no {kind} is called {name!r}; {hint} {', '.join(known)}.")

"""Errors that the user of a run can mend."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """The user's data or settings break a rule; the message gives rule, value received and remedy."""


def by_name(name: str, known: Mapping[Any, T], kind: str) -> T:
    """What has a name in a registry.

    Raises:
        InputError: nothing has; the message has the nearest names, and all of them.
    """
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, cutoff=0.4)
    hint = f"did you mean {' or '.join(nearest)}? There are" if nearest else "there are"
    raise InputError(f"no {kind} is called {name!r}; {hint} {', '.join(known)}.")

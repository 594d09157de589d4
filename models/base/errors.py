"""Errors that the user can correct."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
NAMED = 10
"""Most refusals that one message lists."""


class InputError(ValueError):
    """The user's data or settings break a rule; the message states the rule, the value received and the remedy."""


@dataclass
class Refusals:
    """Refusals of the parts of a whole, reported together so that the user can correct all of them at once.

    Attributes:
        first: the first `NAMED` messages.
        count: number of all refusals.
    """

    first: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, other: Refusals) -> None:
        self.first = [*self.first, *other.first][:NAMED]
        self.count += other.count

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Record an `InputError` of the block instead of raising it."""
        try:
            yield
        except InputError as error:
            self.add(Refusals([str(error)], 1))

    def check(self, rule: str) -> None:
        """Raise what was collected.

        Args:
            rule: completes "5 ...", such as "images of photos cannot be used"; not shown for a single refusal.

        Raises:
            InputError: something was refused.
        """
        if self.count == 1:
            raise InputError(self.first[0])
        if self.count:
            rest = f" (the first {NAMED} are listed)" if self.count > NAMED else ""
            raise InputError(f"{self.count} {rule}{rest}:\n" + "\n".join(f"- {message}" for message in self.first))


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

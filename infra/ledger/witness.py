"""What keeps the heads of the ledger apart from its database, and what the ledger compares itself with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from royalty.infra.ledger.postings import Head


class Witness(Protocol):
    """Keeps the head of the ledger after each statement, for example in signed files."""

    def prepare(self) -> None:
        """Check that heads can be kept, before anything is posted."""

    def latest(self) -> Head | None:
        """The last head that was kept."""

    def heads(self) -> Sequence[Head]:
        """All heads that were kept."""

    def publish(self, heads: Iterable[Head]) -> None:
        """Keep these heads."""

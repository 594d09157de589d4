"""What keeps the heads of the ledger apart from its database and signs its rows; the ledger compares itself with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from royalty.infra.ledger.postings import Head
from royalty.infra.stores.records import Seal


class Witness(Seal, Protocol):
    """Keeps the head of the ledger after each statement, for example in signed files, and signs rows and acts."""

    def prepare(self) -> None:
        """Check that heads can be kept, before anything is posted."""

    def latest(self) -> Head | None:
        """The last head that was kept."""

    def heads(self) -> Sequence[Head]:
        """All heads that were kept."""

    def publish(self, heads: Iterable[Head]) -> None:
        """Keep these heads."""

"""What a statement of the ledger is known by, and the hash that chains it to the one before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from royalty.infra.stores.keys import digest_of

GENESIS = "0" * 64
"""What the first statement has for the hash of the one before."""

PARTS = ("id", "position", "kind", "valuation", "source", "policy", "amount_minor", "replaces", "created_at")
ENTRY_PARTS = ("contributor", "kind", "valuation", "amount_minor", "currency")


def pool_key(name: str, period: str) -> str:
    """Of a pool of one period."""
    return digest_of({"pool": name, "period": period})[:16]


def statement_hash(
    statement: Mapping[str, Any], pool: Mapping[str, Any], entries: Iterable[Mapping[str, Any]], previous: str
) -> str:
    """SHA-256 over all that a statement says, and the hash of the one before it.

    Args:
        statement: has `PARTS`; what else it has does not count.
        pool: has `name`, `period` and `currency`.
        entries: have `ENTRY_PARTS`; their order does not count.
    """
    return digest_of(
        {
            "previous": previous,
            "statement": {part: statement[part] for part in PARTS},
            "pool": {part: pool[part] for part in ("name", "period", "currency")},
            "entries": sorted([entry[part] for part in ENTRY_PARTS] for entry in entries),
        }
    )

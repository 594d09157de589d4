"""Hashes of statements of the ledger and of acts, each with the hash of the previous one; and the key of a pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from royalty.infra.stores.keys import digest_of

GENESIS = "0" * 64
"""The previous hash of the first statement."""

PARTS = ("id", "position", "kind", "valuation", "source", "policy", "amount_minor", "replaces", "created_at")
ACT_PARTS = ("position", "subject", "reference", "kind", "actor", "body", "created_at")
ENTRY_PARTS = ("contributor", "kind", "valuation", "amount_minor", "currency")


def pool_key(name: str, period: str) -> str:
    """The key of a pool, from its name and period."""
    return digest_of({"pool": name, "period": period})[:16]


def returned(valuation: str, corrects: str) -> str:
    """The valuation of the entries of a table that a pool returns to; see `royalty.infra.stores.tables.EntryRow`.

    Args:
        valuation: digest of the credit table.
        corrects: ID of the statement that the return corrects.
    """
    return f"{valuation}@{corrects}"


def statement_hash(
    statement: Mapping[str, Any], pool: Mapping[str, Any], entries: Iterable[Mapping[str, Any]], previous: str
) -> str:
    """SHA-256 of a statement's content and the hash of the previous statement.

    Args:
        statement: has the keys `PARTS`; other keys are ignored.
        pool: has the keys `name`, `period` and `currency`.
        entries: have the keys `ENTRY_PARTS`; their order is ignored.
    """
    return digest_of(
        {
            "previous": previous,
            "statement": {part: statement[part] for part in PARTS},
            "pool": {part: pool[part] for part in ("name", "period", "currency")},
            "entries": sorted([entry[part] for part in ENTRY_PARTS] for entry in entries),
        }
    )


def act_hash(act: Mapping[str, Any], previous: str) -> str:
    """SHA-256 of an act's content and the hash of the previous act.

    Args:
        act: has the keys `ACT_PARTS`; other keys are ignored.
    """
    return digest_of({"previous": previous, "act": {part: act[part] for part in ACT_PARTS}})

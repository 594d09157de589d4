"""Hashes of statements of the ledger and of acts, each with the hash of the previous one; and the key of a pool.

A statement of version 2 hashes a header. The header has the digest and totals of the entries, and the digest of the
evidence. So a chain of headers is verified without its entries. Statements of version 1 hash their entries directly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from royalty.infra.stores.keys import digest_of

GENESIS = "0" * 64
"""The previous hash of the first statement."""

PARTS = ("id", "position", "kind", "valuation", "source", "policy", "amount_minor", "replaces", "created_at")
ACT_PARTS = ("position", "subject", "reference", "kind", "actor", "body", "created_at")
VERSION = 2
"""Version of new statements."""
HEADER = ("version", *PARTS, "evidence", "body", "totals")
"""Parts of a statement of version 2 under its hash."""
LINES_AT_ONCE = 10_000
"""Lines that are encoded at once."""
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


class Body(NamedTuple):
    """What the header of a statement says of its entries.

    Attributes:
        digest: SHA-256 of the entries' lines, sorted.
        totals: number of entries and sum of their minor units, by kind.
    """

    digest: str
    totals: dict[str, list[int]]


def header_hash(header: Mapping[str, Any], pool: Mapping[str, Any], previous: str) -> str:
    """SHA-256 of a statement's header and the hash of the previous statement.

    Args:
        header: has the keys `HEADER`; other keys are ignored.
        pool: has the keys `name`, `period` and `currency`.
    """
    return digest_of(
        {
            "previous": previous,
            "statement": {part: header[part] for part in HEADER},
            "pool": {part: pool[part] for part in ("name", "period", "currency")},
        }
    )


def body_of(entries: Iterable[Sequence[Any]]) -> Body:
    """Digest and totals of entries, which may come in any order.

    Args:
        entries: values in the order of `ENTRY_PARTS`.

    Raises:
        TypeError: an amount is not a whole number, or a text is not one.
        UnicodeEncodeError: a text has half a character of UTF-16.
    """
    lines, totals = entry_lines(entries)
    digest = hashlib.sha256()
    for start in range(0, len(lines), LINES_AT_ONCE):
        digest.update("".join(lines[start : start + LINES_AT_ONCE]).encode())
    return Body(digest.hexdigest(), dict(sorted(totals.items())))


def entry_lines(entries: Iterable[Sequence[Any]]) -> tuple[list[str], dict[str, list[int]]]:
    """Entries as canonical JSON, one in a line, sorted, as the digest of a body has them; and their totals by kind.

    Args:
        entries: values in the order of `ENTRY_PARTS`.

    Raises:
        TypeError: an amount is not a whole number, or a text is not one.
    """
    lines, totals = list[str](), dict[str, list[int]]()
    quoted = lru_cache(maxsize=64)(encode_basestring)  # kinds, valuations and currencies are few
    for contributor, kind, valuation, amount, currency in entries:
        if type(amount) is not int:
            raise TypeError(f"an amount is a whole number of minor units, got {amount!r}")
        lines.append(
            f"[{encode_basestring(contributor)},{quoted(kind)},{quoted(valuation)},{amount},{quoted(currency)}]\n"
        )
        total = totals.get(kind)
        if total is None:
            totals[kind] = [1, amount]
        else:
            total[0] += 1
            total[1] += amount
    lines.sort()
    return lines, totals

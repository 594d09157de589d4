"""The page of an audit pack: its statements and checkpoints, and how to verify them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from royalty.infra.pages.report import environment

MOST = 1_000
"""Checkpoints that the page lists."""


@dataclass(frozen=True)
class ShownStatement:
    """A statement of the ledger.

    Attributes:
        amounts: by title, in the currency of the pool; empty text for zero.
    """

    position: int
    id: str
    date: str
    pool: str
    kind: str
    amounts: Mapping[str, str]
    hash: str


@dataclass(frozen=True)
class AuditPage:
    """What the page shows.

    Attributes:
        head: hash of the last statement.
        checkpoints: number of statements, time and key of each signed checkpoint.
        missing: digests of tables that are not in the pack.
    """

    head: str
    entries: int
    statements: tuple[ShownStatement, ...]
    checkpoints: tuple[tuple[int, str, str], ...]
    missing: tuple[str, ...]


def render_audit(page: AuditPage) -> str:
    """Render the page as one HTML file without external resources."""
    return environment().get_template("audit.html.j2").render(page=page, checkpoints=page.checkpoints[-MOST:])

"""The page of an audit pack: its statements and checkpoints, and how to verify them."""

from __future__ import annotations

from royalty.infra.audit.pack import AuditPage
from royalty.infra.pages.report import environment

MOST = 1_000
"""Checkpoints that the page lists: the last ones."""


def render_audit(page: AuditPage) -> str:
    """Render the page as one HTML file without external resources."""
    return environment().get_template("audit.html.j2").render(page=page, checkpoints=page.checkpoints[-MOST:])

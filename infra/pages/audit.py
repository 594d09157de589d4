"""The page of an audit pack: its statements and checkpoints, and how to verify them."""

from __future__ import annotations

from royalty.infra.audit.pack import AuditPage
from royalty.infra.pages.language import Language
from royalty.infra.pages.report import environment

MOST = 1_000
"""Checkpoints that the page lists: the last ones."""


def render_audit(page: AuditPage, language: Language) -> str:
    """Render the page as one HTML file without external resources."""
    template = environment(language).get_template("audit.html.j2")
    return template.render(page=page, checkpoints=page.checkpoints[-MOST:])

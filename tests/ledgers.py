"""Postings to a ledger."""

from __future__ import annotations

from collections.abc import Mapping

from royalty.infra.ledger.postings import Posting


def euros(valuation: str, amounts: Mapping[str, int], **more: object) -> Posting:
    return Posting(valuation=valuation, currency="EUR", amounts=amounts, **more)

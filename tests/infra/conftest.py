"""A ledger on either database."""

from __future__ import annotations

from pathlib import Path

import pytest

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.stores.database import open_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "sqlite":
        return Ledger(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
    return Ledger(open_database(request.getfixturevalue("postgres_url")))

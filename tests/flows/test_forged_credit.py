"""A credit table that was added to the database by hand, with its stage and records, pays nobody."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from royalty.flows.cli.app import app
from royalty.infra.ledger.postings import LedgerBroken
from royalty.infra.stores.keys import digest_of
from royalty.infra.workspace import Workspace
from tests.paying import credited, pay, paying_home

FUND = {"pool": "100.00", "name": "fund"}


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Workspace]:
    with paying_home(tmp_path / "home") as opened:
        credited(opened, "show", {"ann": 3.0, "bob": 1.0})
        credited(opened, "other", {"ann": 1.0, "bob": 3.0})
        pay("show", {**FUND, "period": "1"})
        yield opened


def forge(space: Workspace, table: str, values: dict[str, Any], key: str) -> None:
    """Insert a row and its record, as anybody who can write to the database; no trigger is dropped."""
    columns = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}
    record = {"run": key, "content": digest_of(values), "commit": "c", "created_at": "2026-05-01T00:00:00+00:00"}
    with closing(sqlite3.connect(space.root / "royalty.db")) as connection, connection:
        for name, row in ((table, {**columns, "created_at": record["created_at"]}), ("origins", record)):
            places = ", ".join("?" * len(row))
            names = ", ".join(f'"{column}"' for column in row)
            connection.execute(f"INSERT INTO {name} ({names}) VALUES ({places})", list(row.values()))


def forged_stage(space: Workspace) -> tuple[str, str]:
    """Key of a stage that nobody ran, and digest of its table, in which the credit is the other way round."""
    run, genuine = "show", space.runs.stage(space.ledger.credit_of("show")[1])
    table = pd.read_parquet(io.BytesIO(space.artifacts.get(genuine.outputs["table"])))
    for column in ("credit", "ci_low", "ci_high"):
        table[column] = table[column].to_numpy()[::-1]
    outputs = {**genuine.outputs, "table": space.artifacts.put(table.to_parquet(index=False))}
    key = f"forged credit of {run}"
    values = {"key": key, "name": genuine.name, "inputs": dict(genuine.inputs), "outputs": outputs, "seconds": 0.0}
    forge(space, "stages", values, key)
    return key, outputs["table"]


def others_stage(space: Workspace) -> tuple[str, str]:
    """Key of a genuine stage of another run, and digest of its table."""
    key = space.ledger.credit_of("other")[1]
    return key, space.runs.stage(key).outputs["table"]


@pytest.mark.parametrize("source", [forged_stage, others_stage])
def test_forged_credit_pays_nobody(space: Workspace, source: Any) -> None:
    assert CliRunner().invoke(app, ["ledger"]).exit_code == 0
    key, table = source(space)
    forge(space, "credit_tables", {"id": 99, "run": "show", "stage": key, "digest": table}, "credit_tables 99")
    assert space.ledger.credit_of("show") == ("show", key), "it would be paid"
    with pytest.raises(LedgerBroken, match="not signed, so the product did not write it"):
        pay("show", {**FUND, "period": "2"})
    assert len(space.ledger.statements()) == 1
    checked = CliRunner().invoke(app, ["ledger"])
    assert checked.exit_code == 1
    assert "row credit_tables 99 is not valid" in checked.stderr

"""CSV that a spreadsheet shows and does not run."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from royalty.infra.pages.cells import csv_bytes, neutral


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", "\r=1", "=", "-1+1"])
def test_text_that_begins_as_a_formula_is_neutralized(text: str) -> None:
    assert neutral(text) == f"'{text}"
    written = pd.read_csv(io.BytesIO(csv_bytes(pd.DataFrame({text: [text]}))))
    assert [*written.columns, *written.iloc[0]] == [f"'{text}"] * 2


@pytest.mark.parametrize("cell", ["-12.34", "+5", -3.5, "ann", "", None, "名前", "a=b"])
def test_numbers_and_other_text_stay(cell: object) -> None:
    assert neutral(cell) == cell


def test_no_table_becomes_csv_by_another_way() -> None:
    root = Path(__file__).parent.parent.parent
    sources = (path for room in ("flows", "tasks", "models", "infra") for path in (root / room).rglob("*.py"))
    writers = [str(path.relative_to(root)) for path in sources if ".to_csv(" in path.read_text(encoding="utf-8")]
    assert writers == ["infra/pages/cells.py"]

"""`royalty payout` as a team uses it: from a run's credit, dry, twice, two at once, held and released, and exported."""

from __future__ import annotations

import csv
import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from infra.runstore import StageRecord
from infra.settings import Settings
from infra.workspace import Workspace, open_workspace

Royalty = Callable[..., subprocess.CompletedProcess[str]]
NAMES = ("=cmd|' /C calc'!A0", "名前", "zoë")
DEBTOR = ("--debtor-name", "Museum", "--debtor-iban", "DE89 3704 0044 0532 0130 00")


def credited(home: Path, run: str) -> Workspace:
    """A home in which a run has come to credit, without what that takes."""
    space = open_workspace(Settings(home=home))
    columns = {"contributor": NAMES, "items": 3, "credit": [3.0, 2.0, 1.0], "stderr": 0.1}
    table = pd.DataFrame({**columns, "ci_low": [2.8, 1.8, 0.8], "ci_high": [3.2, 2.2, 1.2]})
    outputs = {"table": space.artifacts.put(table.to_parquet(index=False)), "failed": [], "trained": 8}
    record = StageRecord("credit", f"key of {run}", {}, {**outputs, "diagnostics": {"efficiency_gap": 0.0}}, 0.0)
    space.runs.record_stage(record)
    space.runs.claim_name(run, {"data": {"source": "digits"}, "payout": {"disputed": ["zoë"]}})
    space.ledger.record_credit(run, record.key, outputs["table"])
    return space


def test_paid_once_held_released_and_exported(royalty: Royalty, tmp_path: Path) -> None:
    ledger = credited(tmp_path / "home", "show").ledger
    command = ("payout", "--credit", "show", "--pool", "100.00", "--currency", "EUR", "--period", "2026-05", "--json")
    dry = json.loads(royalty(*command, "--dry-run").stdout)
    assert dry["statement"] is None
    assert ledger.statements() == []

    with ThreadPoolExecutor(2) as pool:
        both = [json.loads(done.stdout) for done in pool.map(lambda _: royalty(*command), range(2))]
    assert both[0]["statement"] == both[1]["statement"]
    assert (
        [row["amount"] for row in both[0]["rows"]]
        == [row["amount"] for row in dry["rows"]]
        == ["50.00", "33.33", "0.00"]
    )
    assert ledger.balance("show", period="2026-05") == {NAMES[0]: 5000, "名前": 3333, "zoë": 0}

    written = Path(both[0]["files"][0])
    assert [row["contributor"] for row in csv.DictReader(written.open(encoding="utf-8"))] == [
        f"'{NAMES[0]}",
        *NAMES[1:],
    ]
    assert pd.read_parquet(written.with_suffix(".parquet"))["contributor"].tolist() == list(NAMES)

    refused = royalty(*command, "--export", "pain001", *DEBTOR)
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert "there is none of" in refused.stderr
    (tmp_path / "payees.csv").write_text(
        "contributor,name,payee,currency\n" + f'"{NAMES[0]}",,NL91ABNA0417164300,\n名前,,GB29NWBK60161331926819,EUR\n'
        "zoë,Zoë & Co,FR1420041010050500013M02606,eur\n"
    )  # fmt: skip
    (tmp_path / "terms.yaml").write_text("payees: payees.csv\n")
    released = json.loads(
        royalty(
            *command, "--policy", str(tmp_path / "terms.yaml"), "--release", "zoë", "--export", "pain001", *DEBTOR
        ).stdout
    )
    assert released["rows"] == [{"contributor": "zoë", "amount": "16.67"}]
    assert ledger.balance("show", period="2026-05")["zoë"] == 1667
    document = ET.parse(Path(released["files"][-1])).getroot()
    assert [amount.text for amount in document.iter("{*}InstdAmt")] == ["16.67"]

    listed = json.loads(royalty("ledger", "--json").stdout)
    assert listed["verified"]["broken"] is None
    assert [one["kind"] for one in listed["statements"]] == ["division", "release"]


def test_what_cannot_be_paid_is_one_error_and_posts_nothing(royalty: Royalty, tmp_path: Path) -> None:
    ledger = credited(tmp_path / "home", "show").ledger
    for arguments, says in {
        ("--credit", "nobody"): "no run 'nobody' has any here; those that have: show",
        ("--credit", "show", "--pool", "10.5", "--currency", "JPY"): "JPY, which has 0 decimals",
        ("--credit", "show", "--currency", "XXL"): "an ISO 4217 code",
        ("--credit", "show", "--export", "pdf"): "`pain001` or `pain001.03`, got 'pdf'",
        ("--credit", "show", "--debtor-name", "M", "--debtor-iban", "DE00370400440532013000"): "check digits that fit",
    }.items():
        refused = royalty("payout", *arguments)
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
        assert says in " ".join(refused.stderr.split())
    assert ledger.statements() == []

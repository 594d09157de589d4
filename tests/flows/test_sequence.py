"""What a fund does in its first months, command by command, with images of ten drawers."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from royalty.tasks.report.trace_id import TITLES
from tests.conftest import FOLDER, Run, save_digits
from tests.flows.test_credit import result_of

DRAWERS = tuple(f"drawer-{number:02}" for number in range(10))
CONFIG = FOLDER.replace("count: 12", "count: 26").replace("payout: {post: true, limits: {stderr: null}}\n", "") + (
    "payout: {pool: 500.00, disputed: [drawer-03], corrections: reverse, limits: {stderr: null}}\n"
)
MAY, JUNE = ("--period", "2026-05"), ("--period", "2026-06")


def words(done: CompletedProcess[str]) -> str:
    """What a command printed, in one line."""
    return " ".join(done.stdout.split())


def cents(result: dict[str, Any]) -> dict[str, int]:
    return {row["contributor"]: round(100 * float(row["amount"])) for row in result["rows"]}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fund_in_its_first_months(royalty: Run, tmp_path: Path) -> None:
    files = save_digits(tmp_path / "images", [DRAWERS[index % 10] for index in range(200)])
    (tmp_path / "mine.yaml").write_text(CONFIG)

    # A run proposes, and moves no money.
    ran = royalty("run", "--config", "mine.yaml")
    assert ran.returncode == 0, ran.stderr
    assert "Proposed €500.00; nothing is posted. To pay it: royalty payout --credit mine" in words(ran)
    assert statements(royalty) == []
    assert "proposed, not paid" in report(tmp_path)
    assert royalty("trace", "mine").returncode == 0

    # A dry run says what a payout would change; the payout does that once.
    dry = royalty("payout", "--credit", "mine", *MAY, "--dry-run")
    assert "To be paid out:" in words(dry)
    assert "nothing was posted" in words(dry)
    assert statements(royalty) == []
    paid = result_of(royalty("payout", "--credit", "mine", *MAY, "--json"))
    again = royalty("payout", "--credit", "mine", *MAY)
    assert f"by statement {paid['statement']}" in words(again)
    assert "Posting it again changes nothing." in words(again)
    assert [row["id"] for row in statements(royalty)] == [paid["statement"]]
    assert f"Division of the pool mine of 2026-05 of €500.00, statement {paid['statement']}" in report(tmp_path)
    assert "nothing is posted" not in report(tmp_path)
    assert sum(cents(paid).values()) + held(tmp_path) == 50_000

    # A run again knows that its division is paid; the same credit in another period is paid again, and that is said.
    rerun = result_of(royalty("run", "--config", "mine.yaml", "--json"))
    assert (rerun["measured"], rerun["rows"]) == (0, [{**row} for row in rerun["rows"]])
    second = royalty("payout", "--credit", "mine", *JUNE)
    assert f"The same credit was divided before: pool mine of 2026-05, statement {paid['statement']}" in words(second)
    released = result_of(royalty("payout", "--credit", "mine", *MAY, "--release", "drawer-03", "--json"))
    assert [row["contributor"] for row in released["rows"]] == ["drawer-03"]

    # Seven images of one drawer change: what that costs and touches is known before.
    for file in files[0:70:10]:
        Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file)
    dry = royalty("revalue", "--config", "mine.yaml", "--dry-run")
    assert dry.returncode == 10, dry.stderr
    assert "Contributors with changed images: drawer-00" in words(dry)
    assert "Images added: 7, removed: 7 (held-out ones included)" in words(dry)
    assert "mine of 2026-05: €500.00 on" in words(dry)
    revalued = json.loads(royalty("revalue", "--config", "mine.yaml", "--json").stdout)
    assert revalued["statement"] is None
    assert len(statements(royalty)) == 3

    # A run after it keeps to its credit, and neither changes anything any more.
    after = result_of(royalty("run", "--config", "mine.yaml", "--json"))
    assert (after["table"], after["measured"]) == (revalued["table"], 0)
    assert royalty("revalue", "--config", "mine.yaml").returncode == 0

    # A period that was paid is corrected only if what that takes back is agreed to.
    known = statements(royalty)
    correction = royalty("payout", "--credit", "mine", *MAY, "--dry-run")
    assert f"Replaces statement {paid['statement']}" in words(correction)
    assert "Taken back:" in words(correction)
    refused = royalty("payout", "--credit", "mine", *MAY)
    assert refused.returncode == 1
    assert "a posting takes money back only if that is agreed to" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert statements(royalty) == known
    replaced = result_of(royalty("payout", "--credit", "mine", *MAY, "--replace", "--json"))
    assert replaced["change"]["replaces"]["id"] == paid["statement"]
    carried = result_of(
        royalty("payout", "--credit", "mine", *JUNE, "--policy", terms(tmp_path), "--replace", "--json")
    )
    assert carried["change"]["kind"] == "correction"

    # Everything can be traced by every ID, and the ledger shows all of it in a narrow terminal.
    for kind, identity in [("MLflow run", after["mlflow_run"]), *identities(tmp_path, royalty)]:
        traced = royalty("trace", identity)
        assert (traced.returncode, traced.stderr) == (0, ""), kind
    listed = royalty("ledger")
    assert listed.returncode == 0
    for row in statements(royalty):
        assert row["id"] in words(listed)
        assert row["created_at"][:10] in words(listed)


def statements(royalty: Run) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(royalty("ledger", "--json").stdout)["statements"]
    return listed


def report(folder: Path) -> str:
    """The words of the report."""
    html = (folder / "home" / "runs" / "mine" / "report.html").read_text(encoding="utf-8")
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def held(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "home" / "royalty.db")) as database:
        (amount,) = database.execute("select sum(amount_minor) from entries where kind = 'held'").fetchone()
    return int(amount)


def terms(folder: Path) -> str:
    """A file of terms that carries corrections over."""
    (folder / "terms.yaml").write_text(
        "{pool: 500.00, disputed: [drawer-03], corrections: carry, limits: {stderr: null}}\n"
    )
    return "terms.yaml"


def identities(folder: Path, royalty: Run) -> list[tuple[str, str]]:
    """A name, and IDs of every kind: statements, credit tables, artifacts of stages, coalitions, models and items."""
    with closing(sqlite3.connect(folder / "home" / "royalty.db")) as database:
        tables = database.execute("select distinct 'credit table', digest from credit_tables").fetchall()
        coalition = "select {0}, {0} from coalition_models where checkpoint is not null order by key limit 1"
        coalitions = [database.execute(coalition.format(part)).fetchone() for part in ("key", "checkpoint")]
        stages = {name: json.loads(outputs) for name, outputs in database.execute("select name, outputs from stages")}
    places = [place.split(".", 1) for place in TITLES]
    made = [
        (place, stages[stage].get(role)) for place, (stage, role) in zip(TITLES, places, strict=True) if stage in stages
    ]
    item = pd.read_parquet(folder / "home" / "runs" / "mine" / "values.parquet")["id"].iloc[0]
    posted = [("statement", row["id"]) for row in statements(royalty)]
    return [("run", "mine"), ("item", item), *posted, *tables, *coalitions, *(one for one in made if one[1])]

"""Pools that are divided by use: terms, statements, repeats, corrections and traces."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from royalty.infra.attribution.api import AttributionRequest, recorded
from royalty.infra.attribution.usage_log import UsageLog
from royalty.infra.stores.weights import WeightsStore
from royalty.tasks.attribution.attributing import Attributor, served_folders
from tests.conftest import Credited, Run
from tests.flows.test_credit import result_of
from tests.indexed import built, features_of

pytestmark = pytest.mark.cli

USE_ONLY = "{use: {training: 0, unattributable: reserve}, limits: {stderr: null}}"
TERMS = ["--usage", "log", "--model", "letters", "--pool", "100.00", "--period", "2026-05", "--policy", "terms.yaml"]


def log_of(home: Path, numbers: range, **fields: Any) -> dict[str, float]:
    """Log generations of May, and return the revenue of each contributor."""
    attributor = Attributor(served_folders(home), WeightsStore(home / "weights"))
    log, earned = UsageLog(home / "attribution" / "log.db"), dict[str, float]()
    for number in numbers:
        asked = AttributionRequest(
            id=str(number),
            model="letters",
            time=f"2026-05-{1 + number % 28:02}T12:00:00Z",  # type: ignore[arg-type]  # pydantic reads it
            embedding=features_of(1, 100 + number)[0].tolist(),
            encoder="features",
            revenue=f"{1 + number % 3}.00",  # type: ignore[arg-type]
            **fields,
        )
        logged, _ = recorded(log, "studio", asked, attributor)
        for name, share in logged.shares.items():
            earned[name] = earned.get(name, 0.0) + (1 + number % 3) * share
    return earned


def cents(rows: list[Mapping[str, Any]]) -> dict[str, int]:
    return {row["contributor"]: round(100 * float(row["amount"])) for row in rows}


@pytest.mark.slow
def test_a_pool_follows_the_log(royalty: Run, tmp_path: Path) -> None:
    built(tmp_path / "home", far_rate=0.001)
    earned = log_of(tmp_path / "home", range(30))
    (tmp_path / "terms.yaml").write_text(USE_ONLY)
    paid = result_of(royalty("payout", *TERMS, "--json"))
    amounts, whole = cents(paid["rows"]), sum(1 + number % 3 for number in range(30))
    for name, revenue in earned.items():
        assert amounts[name] == pytest.approx(10_000 * revenue / whole, abs=1)
    lost = 10_000 - sum(amounts.values())
    assert lost == pytest.approx(10_000 * (1 - sum(earned.values()) / whole), abs=3)
    assert any("30 generations in 2026-05" in note for note in paid["notes"])

    again = result_of(royalty("payout", *TERMS, "--json"))
    assert again["statement"] == paid["statement"]
    assert len(result_of(royalty("ledger", "--json"))["statements"]) == 1

    traced = result_of(royalty("trace", paid["statement"], "--json"))
    assert traced["matches"]
    steps = {step["title"]: dict(step["facts"]) for step in traced["steps"]}
    assert steps["Policy"]["Use"].startswith("0.0000% of the pool is divided by credit (equal-tiers)")
    assert steps["Policy"]["Use"].endswith("what is not attributable goes to the reserve.")
    assert "30, " in steps["Use of the period"]["Generations"]
    name = max(amounts, key=lambda name: amounts[name])
    assert "% of the pool by studio/" in steps["Credit and use"][name]
    assert ", from 0000000000000" in steps["Credit and use"][name]

    log = tmp_path / "home" / "attribution" / "log.db"
    with closing(sqlite3.connect(log)) as connection:  # with the head, as whoever owns the disk can
        assert "position 30, " in steps["Use of the period"]["Log"]
        head = connection.execute("select position, hash from head").fetchone()
        gone = {
            table: connection.execute(f"select * from {table} where position > 20").fetchall()
            for table in ("attributions", "shares", "behind")
        }
        for table in gone:
            connection.execute(f"drop trigger {table}_stay")
            connection.execute(f"delete from {table} where position > 20")
        connection.execute("update head set (position, hash) = (select 20, hash from attributions where position = 20)")
        connection.commit()
    cut = "ends at position 20, and a payout was made by the row at position 30"
    for refused in (royalty("payout", *TERMS, "--json"), royalty("ledger")):
        assert refused.returncode == 1
        assert cut in refused.stderr
    with closing(sqlite3.connect(log)) as connection:
        for table, rows in gone.items():
            connection.executemany(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", rows)
        connection.execute("update head set position = ?, hash = ?", head)
        connection.commit()
    log_of(tmp_path / "home", range(30, 40))
    refused = royalty("payout", *TERMS, "--json")
    assert refused.returncode == 1
    assert "takes money back" in refused.stderr or "takes" in refused.stderr
    replaced = result_of(royalty("payout", *TERMS, "--replace", "--json"))
    assert replaced["statement"] != paid["statement"]
    assert result_of(royalty("ledger", "--json"))["verified"]["statements"] == 2


@pytest.mark.slow
def test_bad_terms_and_logs_are_one_error(royalty: Run, tmp_path: Path) -> None:
    built(tmp_path / "home")
    (tmp_path / "terms.yaml").write_text(USE_ONLY)
    (tmp_path / "use.csv").write_text("id,time,revenue,contributor,share\n1,2026-05-01,1,Eve,1\n")
    without = [word for word in TERMS if word not in ("--policy", "terms.yaml")]
    for arguments, message in (
        (TERMS, "the log has no generation of the model 'letters' in 2026-05"),
        ([*TERMS[2:]], "give one of them"),
        ([*TERMS[:2], *TERMS[4:]], "give one of them"),
        (["--usage", "none.csv", *TERMS[2:]], "cannot read none.csv"),
        (["--usage", "use.csv", *TERMS[2:]], "names 'Eve', an unknown contributor; there are Ada, Bob, Cyd"),
        ([*TERMS[:6], "--period", "May", *TERMS[8:]], "use is counted in a month"),
        ([*TERMS[:6], *TERMS[8:]], "use is counted in a period"),
        ([*TERMS, "--release", "Ada"], "use only one of them"),
    ):
        refused = royalty("payout", *arguments)
        assert refused.returncode == 1, refused.stdout
        assert message in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr
    log_of(tmp_path / "home", range(3))
    assert "add `--credit RUN`, or set `use.training: 0`" in royalty("payout", *without).stderr
    assert result_of(royalty("ledger", "--json"))["statements"] == []


@pytest.mark.slow
def test_credit_and_use_share_a_pool(credited: Credited, royalty: Run, tmp_path: Path) -> None:
    credited.copy_to(tmp_path)
    by_credit = result_of(royalty("payout", "--credit", "small", "--pool", "100", "--name", "credit", "--json"))
    names = [row["contributor"] for row in by_credit["rows"]]
    rows = [f"{number},2026-05-01,1,{names[-1]},1" for number in range(4)]
    (tmp_path / "use.csv").write_text("\n".join(["id,time,revenue,contributor,share", *rows, "4,2026-05-02,6,,"]))
    (tmp_path / "terms.yaml").write_text("{use: {training: 0.25, unattributable: training}, limits: {stderr: null}}")
    arguments = ["--usage", "use.csv", "--model", "small", "--credit", "small", "--pool", "100.00"]
    arguments += ["--period", "2026-05", "--policy", "terms.yaml", "--name", "both"]
    paid = result_of(royalty("payout", *arguments, "--json"))
    assert sum(cents(paid["rows"]).values()) == 10_000
    used = {row["contributor"]: row["use"] for row in paid["rows"]}
    assert used == pytest.approx({name: 0.3 if name == names[-1] else 0.0 for name in names})
    trained = {row["contributor"]: row["training"] for row in paid["rows"]}
    shares = {row["contributor"]: row["share"] for row in by_credit["rows"]}
    assert trained == pytest.approx({name: 0.7 * shares[name] for name in names}, abs=2e-4)
    traced = result_of(royalty("trace", paid["statement"], "--json"))
    assert traced["matches"]
    assert {"Credit and use", "Use of the period", "Credit table", "Training images"} <= {
        step["title"] for step in traced["steps"]
    }

"""What is kept is used again: by a run after its forecast, for another property, and when images change."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from html import unescape as unescaped
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.pages.contributors import file_of
from royalty.infra.stores.database import open_database
from tests.conftest import FOLDER, Run, save_digits
from tests.flows.test_credit import result_of

PEOPLE = ("ann", "bob", "cy", "dee")
CONFIG = (
    FOLDER.replace("steps: 60", "steps: 400")
    .replace("recovery_steps: 5", "recovery_steps: 40")
    .replace("count: 12", "count: 12, seeds: 2")
    .replace("{post: true, ", "{post: true, take_back: true, corrections: reverse, ")
    + "stopping: {stderr: 1000.0, pilot: 6}\n"
)
"""Trained for long enough that credit is positive; a target that the pilot of 6 coalitions meets already."""

MODELS = (6 + 2) * 2


def changed(completed: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What `revalue` prints where something changed."""
    assert completed.returncode == 10, completed.stderr
    return json.loads(completed.stdout)


def table(home: Path, name: str) -> dict[str, dict[str, Any]]:
    """Every row of a table by its key."""
    with sqlite3.connect(home / "royalty.db") as database:
        database.row_factory = sqlite3.Row
        return {row["key"]: dict(row) for row in database.execute(f"select * from {name}")}


def kept(home: Path) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Models and measurements."""
    return table(home, "coalition_models"), table(home, "measurements")


def entries(home: Path, kind: str) -> list[tuple[str, int]]:
    with sqlite3.connect(home / "royalty.db") as database:
        query = "select contributor, amount_minor from entries where kind = ? order by contributor"
        return database.execute(query, [kind]).fetchall()


def owed(result: dict[str, Any]) -> dict[str, int]:
    """The amounts of a result, in cents."""
    return {row["contributor"]: round(100 * float(row["amount"])) for row in sorted(result["rows"], key=_contributor)}


def _contributor(row: dict[str, Any]) -> str:
    return str(row["contributor"])


def without_measurements(home: Path, copy: Path) -> None:
    """A copy of a home that remembers the anchor, and nothing of any coalition, nor what was paid by them."""
    shutil.copytree(home, copy)
    shutil.rmtree(copy / "audit")
    with sqlite3.connect(copy / "royalty.db") as database:
        # What runs found out cannot be deleted while these are there.
        for (trigger,) in database.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            database.execute(f"drop trigger {trigger}")
        for said_of in ("lineage", "origins"):
            keys = "select key from measurements union select key from coalition_models"
            database.execute(f"delete from {said_of} where run in ({keys})")
        for signed in ("signatures", "link_signatures"):  # by the key in `audit`; rows are signed anew
            database.execute(f"delete from {signed}")
        for unknown in ("measurements", "coalition_models", "entries", "statements", "evidence", "policies", "pools"):
            database.execute(f"delete from {unknown}")


@pytest.mark.slow
@pytest.mark.timeout(900)  # seven runs of the command line
def test_kept_models_serve_the_run_another_property_and_a_revaluation(
    royalty: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr("royalty.tasks.pay.announcing.emit", lambda *event: told.append(event))
    home, anew = tmp_path / "home", tmp_path / "anew"
    files = save_digits(tmp_path / "images", [PEOPLE[index % 4] for index in range(160)])
    (tmp_path / "mine.yaml").write_text(CONFIG)
    (tmp_path / "entropy.yaml").write_text(
        CONFIG.replace("sampling: {images: 64", "sampling: {draws: 2, images: 64") + "property: class-entropy\n"
    )

    forecast = result_of(royalty("run", "--config", "mine.yaml", "--forecast", "--json"))
    pilot = kept(home)
    assert [len(rows) for rows in pilot] == [MODELS, MODELS]
    assert (forecast["budget"], forecast["certainty"]["coalitions"]) == (12, 6)
    assert forecast["seconds"] > 0
    width = forecast["certainty"]["width"]
    assert forecast["expected"] == {
        "coalitions": 6,
        "hours": 0,
        "interval_width": pytest.approx(width),
        "target_within_budget": True,
    }
    assert entries(home, "payment") == []

    first = result_of(royalty("run", "--config", "mine.yaml", "--json"))
    assert (first["measured"], first["reused"]) == (0, MODELS)
    assert kept(home) == pilot
    assert first["ended"].startswith("The target ended the measuring after 6 of at most 12 coalitions: ")
    assert "can be told apart (the largest standard error is" in first["ended"]
    assert first["ended"] in first["notes"]
    html = (Path(first["folder"]) / "report.html").read_text(encoding="utf-8")
    assert re.search(r"Variance due to training seeds</dt><dd>\d+%", html)
    assert "Variance due to sampled images" not in html

    other = result_of(royalty("run", "--config", "entropy.yaml", "--json"))
    models, measurements = kept(home)
    assert other["measured"] == MODELS
    assert models == pilot[0]
    added = [row for key, row in measurements.items() if key not in pilot[1]]
    assert {row["property"] for row in added} == {"class-entropy"}
    assert {(row["coalition"], row["draw"]) for row in added} == {(key, draw) for key in models for draw in (0, 1)}
    assert len(added) == 2 * MODELS
    html = (Path(other["folder"]) / "report.html").read_text(encoding="utf-8")
    for source in ("the drawn coalitions", "training seeds", "sampled images"):
        assert re.search(rf"Variance due to {source}</dt><dd>\d+%", html)

    without_measurements(home, anew)
    before = kept(home)
    for file in files[::4]:
        Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file)
    with_ann = [key for key, row in before[0].items() if "ann" in json.loads(row["members"])]
    assert 2 < len(with_ann) < MODELS
    paid = entries(home, "payment")

    dry = changed(royalty("revalue", "--config", "mine.yaml", "--dry-run", "--json", "--summary", "dry.md"))
    assert {key: dry["change"][key] for key in ("added", "removed", "changed", "configuration", "code", "kept")} == {
        "added": [],
        "removed": [],
        "changed": ["ann"],
        "configuration": [],
        "code": [],
        "kept": [],
    }
    assert (dry["change"]["coalitions"], dry["moved"], dry["rows"]) == (len(with_ann) // 2, None, first["rows"])
    assert 0 < dry["change"]["seconds"] < 600
    said = (tmp_path / "dry.md").read_text(encoding="utf-8")
    assert "Contributors with changed images: <code>ann</code>" in said
    assert f"Cost: {len(with_ann) // 2} coalitions to measure, about" in said
    assert "this is a dry run" in said
    assert (kept(home), entries(home, "payment")) == (before, paid)
    assert "royalty.credit.moved" not in {event for event, *_ in told}

    revalued = changed(royalty("revalue", "--config", "mine.yaml", "--json", "--summary", "summary.md"))
    after = kept(home)
    credits = [{row["contributor"]: row["credit"] for row in result["rows"]} for result in (first, revalued)]
    assert {row["contributor"]: row["now"]["credit"] for row in revalued["moved"]} == credits[1]
    assert {row["contributor"]: row["then"]["credit"] for row in revalued["moved"]} == credits[0]
    assert {row["contributor"]: row["now"]["rank_best"] for row in revalued["moved"]} == {
        row["contributor"]: row["rank_best"] for row in revalued["rows"]
    }
    assert {row["certain"] for row in revalued["moved"]} <= {True, False}
    certain = sum(row["certain"] for row in revalued["moved"])
    facts = {"run": "mine", "people": len(revalued["moved"]), "certain": certain}
    assert [event for event in told if event[0] == "royalty.credit.moved"] == [
        ("royalty.credit.moved", "royalty.run.mine", "mine", facts)
    ]
    said = (tmp_path / "summary.md").read_text(encoding="utf-8")
    lines = {line.split("|")[1].strip(): line for line in said.splitlines() if line.startswith("| <code>")}
    assert list(lines) == [f"<code>{row['contributor']}</code>" for row in revalued["rows"]]
    assert all(f"{row['amount']} |" in lines[f"<code>{row['contributor']}</code>"] for row in revalued["rows"])
    assert (revalued["measured"], revalued["reused"]) == (len(with_ann), MODELS - len(with_ann))
    for old, new in zip(before, after, strict=True):
        assert {key: new[key] for key in old} == old
        assert len(new) == len(old) + len(with_ann)
    assert all("ann" in json.loads(row["members"]) for key, row in after[0].items() if key not in before[0])

    whole = changed(royalty("revalue", "--config", "mine.yaml", "--json", ROYALTY_HOME=str(anew)))
    assert whole["measured"] == MODELS
    assert whole["table"] == revalued["table"] != first["table"], "what was reused is worth what it would be anew"
    assert whole["rows"] == revalued["rows"]

    items = [{row["contributor"]: row["items"] for row in result["rows"]} for result in (first, revalued)]
    removed, added_items = (brought["ann"] for brought in items)
    share = (removed + added_items) / (sum(items[0].values()) + added_items)
    (note,) = [note for note in revalued["notes"] if "Revalued" in note]
    assert re.search(r"from the models of 20\d\d-\d\d-\d\d \d\d:\d\d UTC, 0 days old", note)
    assert f"the set gained {added_items} training images and lost {removed}, {share:.1%} of all" in note
    assert "The images of ann changed" in note
    moved = re.search(r"training set moved by (\d+\.\d\d)% of the mean distance between an old and a new image", note)
    assert moved is not None
    assert 0 < float(moved[1]) < 50
    html = (Path(revalued["folder"]) / "report.html").read_text(encoding="utf-8")
    assert note in html
    assert "more of the pool as two contributors, each with half of the credit" in html
    page = (Path(revalued["folder"]) / file_of("ann")).read_text(encoding="utf-8")
    reasons = [
        f"Own images: 0 added, 0 removed, {len(files[::4])} changed.",
        "Images of others: the same.",
        "Coalitions start from the same models.",
    ]
    lists = [re.findall(r"<li>([^<]+)</li>", part) for part in re.findall(r"<ul.*?</ul>", page, re.DOTALL)]
    assert [each for each in reasons if any(each in listed for listed in lists)] == reasons, lists
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for result, state in ((first, "reversed"), (revalued, "active")):
        amount = next(row["amount"] for row in result["rows"] if row["contributor"] == "ann")
        assert f" €{amount} {state} " in text

    assert Ledger(open_database(f"sqlite:///{home / 'royalty.db'}")).balance("mine") == owed(revalued)
    assert entries(home, "reversal") == [(name, -amount) for name, amount in owed(first).items()]

    again = result_of(royalty("run", "--config", "mine.yaml", "--json"))
    assert (again["measured"], again["table"]) == (0, revalued["table"]), "a run after it keeps to its credit"
    assert kept(home) == after
    assert (again["rows"], again["notes"]) == (revalued["rows"], revalued["notes"])

    nothing = royalty("revalue", "--config", "mine.yaml", "--summary", "summary.md")
    assert (nothing.returncode, nothing.stderr) == (0, "")
    assert "Nothing changed since the last credited run (20" in nothing.stdout
    assert "Nothing changed since" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert kept(home) == after
    assert entries(home, "reversal") == [(name, -amount) for name, amount in owed(first).items()]


def test_revaluation_of_what_never_ran_is_refused_in_one_line(royalty: Run, tmp_path: Path) -> None:
    refused = royalty("revalue", "--name", "nobody-ran-this", "--summary", "summary.md")
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "**Revaluation refused.** Nothing was posted; finished work is kept." in summary
    assert "has no run named 'nobody-ran-this'" in unescaped(summary)
    assert "`royalty run`" in unescaped(summary), "the remedy"
    assert refused.returncode == 1
    assert "has no run named 'nobody-ran-this'" in refused.stderr
    assert "royalty run" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert table(tmp_path / "home", "stages") == {}
    assert kept(tmp_path / "home") == ({}, {})

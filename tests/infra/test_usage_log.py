"""The log of attributions: on disk before it is answered, once for each id, and never changed."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from royalty.infra.attribution.usage_log import Logged, LogHead, OtherBody, UsageLog
from royalty.infra.stores.artifacts import StoreError


def append(log: UsageLog, caller: str, **fields: Any) -> Logged:
    shares = fields.pop("shares", {"Ada": 0.75, "Bob": 0.25})
    known = {
        "client": "studio",
        "body": "b" * 64,
        "at": "2026-05-03T12:00:00+00:00",
        "model": "letters",
        "version": "1",
        "prompt": "an a",
        "revenue": None,
    }
    return log.append(caller=caller, answer={"contributors": shares, "id": caller}, **{**known, **fields})


def test_an_id_is_logged_once(tmp_path: Path) -> None:
    log = UsageLog(tmp_path / "log.db")
    first = append(log, "one")
    assert append(log, "one") == first
    assert log.find("studio", "one") == log.get(first.id) == first
    assert log.count() == 1
    with pytest.raises(OtherBody, match="'one' was attributed on other data"):
        append(log, "one", body="c" * 64)
    assert append(log, "one", client="other").id != first.id  # ids are each client's own
    assert UsageLog(tmp_path / "log.db").find("studio", "one") == first


def test_rows_are_never_changed(tmp_path: Path) -> None:
    log = UsageLog(tmp_path / "log.db")
    for number in range(3):
        append(log, str(number))
    assert log.problem() is None
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        for statement in ("update attributions set revenue = '5'", "delete from shares", "update shares set share = 1"):
            with pytest.raises(sqlite3.IntegrityError, match="only added to"):
                connection.execute(statement)
        connection.execute("drop trigger attributions_keep")
        connection.execute("update attributions set revenue = '5' where position = 2")
        connection.commit()
    assert "at position 2" in (log.problem() or "")


@pytest.mark.parametrize("with_head", [False, True])
def test_last_rows_that_are_gone_are_noticed(tmp_path: Path, with_head: bool) -> None:
    log = UsageLog(tmp_path / "log.db")
    kept = [LogHead(row.position, row.hash) for row in (append(log, str(number)) for number in range(4))]
    assert log.problem(kept) is None
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        for table in ("attributions", "shares"):
            connection.execute(f"drop trigger {table}_stay")
            connection.execute(f"delete from {table} where position > 2")
        if with_head:  # whoever owns the file can do this too
            connection.execute("update head set position = 2, hash = ?", [kept[1].hash])
        connection.commit()
    if with_head:
        assert log.problem() is None
        assert "ends at position 2, and a payout was made by the row at position 4" in (log.problem(kept) or "")
        append(log, "4")
        append(log, "5")
        assert "was rewritten: a payout was made by another row at position 4" in (log.problem(kept[3:]) or "")
        assert log.problem(kept[:2]) is None
    else:
        assert "ends at position 2, and its head is at 4: last rows are gone" in (log.problem() or "")
        with pytest.raises(StoreError, match=r"attributions are added to a whole log, and .* restore it"):
            append(log, "4")
        assert log.count() == 2


def test_sums_that_differ_from_answers_are_noticed(tmp_path: Path) -> None:
    log = UsageLog(tmp_path / "log.db")
    append(log, "one")
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.execute("drop trigger shares_keep")
        connection.execute("update shares set share = 1 - share")
        connection.commit()
    assert "at position 1" in (log.problem() or "")


def test_totals(tmp_path: Path) -> None:
    log = UsageLog(tmp_path / "log.db")
    append(log, "1")
    append(log, "2", shares={"Bob": 1.0}, prompt="a b")
    append(log, "3", shares={}, at="2026-06-01T00:00:00+00:00")
    assert log.totals("contributor") == [
        {"contributor": "Bob", "generations": 2, "share": 1.25},
        {"contributor": "Ada", "generations": 1, "share": 0.75},
    ]
    assert log.totals("period") == [
        {"period": "2026-05", "generations": 2, "share": 2.0},
        {"period": "2026-06", "generations": 1, "share": 0.0},
    ]
    assert [row["prompt"] for row in log.totals("prompt", end="2026-06-01")] == ["a b", "an a"]
    assert log.totals("model", model="none") == []
    append(log, "1", client="other", shares={"Ada": 1.0})
    assert log.totals("client") == [
        {"client": "studio", "generations": 3, "share": 2.0},
        {"client": "other", "generations": 1, "share": 1.0},
    ]
    assert log.totals("contributor", client="other") == [{"contributor": "Ada", "generations": 1, "share": 1.0}]
    assert [logged.caller for logged in log.between("2026-05-01", "2026-06-01", model="letters", version="1")] == [
        "1",
        "2",
        "1",
    ]
    assert list(log.between("2026-05-01", "2026-06-01", model="letters", version="2")) == []


def test_what_a_training_image_stands_behind(tmp_path: Path) -> None:
    log = UsageLog(tmp_path / "log.db")
    for caller, share in (("1", 0.2), ("2", 0.9)):
        answer = {"contributors": {"Ada": 1.0}, "items": [{"id": "a" * 64, "share": share}]}
        log.append(
            client="studio", caller=caller, body="b", at="2026-05-03T12:00:00+00:00", model="letters", version="1",
            prompt="", revenue=None, answer=answer,
        )  # fmt: skip
    assert [(row.caller, share) for row, share in log.behind("a" * 64)] == [("2", 0.9), ("1", 0.2)]
    assert log.behind("b" * 64) == []


def test_many_writers_at_once(tmp_path: Path) -> None:
    log, asked = UsageLog(tmp_path / "log.db"), 40
    threads = [
        threading.Thread(target=lambda part=part: [append(log, str(number)) for number in range(part, asked)])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.count() == asked
    assert log.problem() is None


def test_a_log_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    log = UsageLog(tmp_path / "log.db")
    append(log, "1")
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        pages = connection.execute("pragma page_count").fetchone()[0]
    log._connection.execute(f"pragma max_page_count = {pages}")
    long = {"prompt": "x" * 100_000}
    with pytest.raises(StoreError, match=r"cannot write the log .*full"):
        append(log, "2", **long)
    kept = log.count()
    assert log.problem() is None
    log._connection.execute("pragma max_page_count = 100000")
    append(log, "later")
    assert log.count() == kept + 1 == 2
    (tmp_path / "other.db").write_text("no database " * 100)
    with pytest.raises(StoreError, match="cannot open the log"):
        UsageLog(tmp_path / "other.db")

"""Artifacts, run store and ledger: whole or not at all, once, and never changed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra.artifacts import ArtifactStore, StoreError, write_whole
from infra.keys import code_version, digest_of
from infra.ledger import Ledger, LedgerConflict
from infra.runstore import CoalitionRecord, ConfigConflict, MeasurementRecord, RunStore, StageRecord, open_database
from infra.tables import Base, Entry
from infra.workspace import check_home


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    return RunStore(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))


def test_artifacts_are_stored_once_and_verified(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    digest = store.put(b"payload")
    before = store.path(digest).stat().st_mtime_ns
    assert store.put(b"payload") == digest
    assert store.path(digest).stat().st_mtime_ns == before
    assert store.get(digest) == b"payload"
    store.path(digest).write_bytes(b"changed")
    with pytest.raises(StoreError, match="has changed since"):
        store.get(digest)
    store.path(digest).unlink()
    with pytest.raises(StoreError, match="is not in"):
        store.get(digest)


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("infra.artifacts.os.fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device.*ROYALTY_HOME"):
        write_whole(tmp_path / "file", b"payload")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_home_and_full_disk_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*ROYALTY_HOME"):
        check_home(tmp_path / "file" / "home")
    monkeypatch.setattr("infra.workspace.FREE_SPACE", 2**60)
    with pytest.raises(StoreError, match=r"needs \d+ MiB free in .*, and \d+ MiB are"):
        check_home(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_stage_is_recorded_once_and_found(runs: RunStore) -> None:
    record = StageRecord("train", "k", {"seed": 0}, {"model": "abc"}, 1.5)
    assert runs.stage("k") is None
    runs.record_stage(record)
    runs.record_stage(record.with_outputs(model="other"))
    found = runs.stage("k")
    assert found is not None
    assert found.reused
    assert found.outputs == {"model": "abc"}


def test_coalition_rows(runs: RunStore) -> None:
    record = CoalitionRecord("k", ["ann"], "sparsified", 0, 3, 1.0, "cpu", "abc")
    failed = CoalitionRecord("f", ["bob"], "sparsified", 0, 3, 1.0, "cpu", None, "diverged")
    for row in (record, failed, record):
        runs.record_coalition(row)
    assert runs.coalitions(["k", "f", "missing", "k"]) == {"k": record, "f": failed}
    measured = MeasurementRecord("m", "k", "inception-score", 0, 1.25, 0.5, 0.1)
    runs.record_measurement(measured)
    assert runs.measurements(["m"]) == {"m": measured}


def test_the_latest_anchor_of_a_name_serves(runs: RunStore) -> None:
    assert runs.anchor("demo") is None
    for stages in ({"train": "a"}, {"train": "a"}, {"train": "b"}):
        runs.record_anchor("demo", stages)
    assert runs.anchor("demo").stages == {"train": "b"}
    runs.record_anchor("other", {"train": "c"})
    assert runs.anchor("demo").stages == {"train": "b"}


def test_name_stands_for_one_configuration(runs: RunStore) -> None:
    runs.claim_name("demo", {"seed": 0, "data": {"source": "digits"}})
    runs.claim_name("demo", {"seed": 0, "data": {"source": "digits"}})
    with pytest.raises(ConfigConflict, match=r"(?s)data\.source: was 'digits', is now 'folder'.*--name"):
        runs.claim_name("demo", {"seed": 0, "data": {"source": "folder"}})


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    def write(worker: int) -> None:
        store = RunStore(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
        for index in range(20):
            store.record_stage(StageRecord("s", f"{worker}-{index}", {}, {}, 0.0))

    open_database(f"sqlite:///{tmp_path / 'royalty.db'}")
    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = RunStore(open_database(f"sqlite:///{tmp_path / 'royalty.db'}"))
    assert all(store.stage(f"{worker}-{index}") for worker in range(4) for index in range(20))


def test_keys_are_equal_for_equal_values() -> None:
    assert digest_of({"b": 1, "a": [1.5, None]}) == digest_of({"a": [1.5, None], "b": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_code_version_ignores_comments_and_sees_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "numeric_sample.py"
    versions = []
    for source in (
        "def f(x):\n    return x + 1\n",
        'def f(x):\n    """Doc."""\n    return x + 1  # why\n',
        "def f(x):\n    return x + 2\n",
    ):
        module.write_text(source)
        code_version.cache_clear()
        versions.append(code_version("numeric_sample"))
    assert versions[0] == versions[1] != versions[2]


def test_code_version_covers_what_is_imported() -> None:
    assert code_version("models.generators.ddpm") != code_version("models.pruning")
    with pytest.raises(ValueError, match="no module"):
        code_version("models.nothing")


def test_posting_twice_pays_once(ledger: Ledger) -> None:
    posting = {"pool": "may", "valuation": "v1", "currency": "EUR", "amounts": {"ann": 60, "bob": 40}}
    assert ledger.post(**posting) == ledger.post(**posting)
    assert ledger.balance("may") == {"ann": 60, "bob": 40}


def test_paying_twice_is_a_constraint_error(ledger: Ledger) -> None:
    statement = ledger.post(pool="may", valuation="v1", currency="EUR", amounts={"ann": 60})
    again = Entry(
        statement=statement,
        pool="may",
        contributor="ann",
        valuation="v1",
        kind="payment",
        amount_minor=60,
        currency="EUR",
    )
    with Session(ledger.engine) as session:
        session.add(again)
        with pytest.raises(IntegrityError):
            session.commit()


def test_new_valuation_reverses_the_old(ledger: Ledger) -> None:
    ledger.post(pool="may", valuation="v1", currency="EUR", amounts={"ann": 60, "bob": 40})
    ledger.post(pool="may", valuation="v2", currency="EUR", amounts={"ann": 10, "cy": 90})
    assert ledger.balance("may") == {"ann": 10, "bob": 0, "cy": 90}
    with pytest.raises(LedgerConflict, match="has since replaced it"):
        ledger.post(pool="may", valuation="v1", currency="EUR", amounts={"ann": 60, "bob": 40})


def test_other_amounts_for_one_valuation_are_refused(ledger: Ledger) -> None:
    ledger.post(pool="may", valuation="v1", currency="EUR", amounts={"ann": 60})
    with pytest.raises(LedgerConflict, match="60 minor units of EUR, and is asked to pay it 61 of EUR"):
        ledger.post(pool="may", valuation="v1", currency="EUR", amounts={"ann": 61})
    with pytest.raises(LedgerConflict, match="60 of USD"):
        ledger.post(pool="may", valuation="v1", currency="USD", amounts={"ann": 60})
    assert ledger.balance("may") == {"ann": 60}


def test_accounts_are_brought_forward_once_and_again_to_the_same_pool(ledger: Ledger) -> None:
    names = ["ann", "bob"]
    ledger.post(pool="may", valuation="v1", currency="EUR", amounts={"ann": 60, "bob": 0}, accounts={"bob": 4})
    assert ledger.accounts("may", "EUR", names) == {}
    assert ledger.accounts("june", "JPY", names) == ledger.accounts("june", "EUR", ["ann"]) == {}
    brought = ledger.accounts("june", "EUR", names)
    assert brought == {"bob": 4}
    june = {"pool": "june", "valuation": "v2", "currency": "EUR", "amounts": {"ann": 50, "bob": 9}}
    statement = ledger.post(**june, accounts={"bob": -4}, brought=brought)
    assert ledger.accounts("july", "EUR", names) == {}
    assert ledger.accounts("june", "EUR", names) == brought
    assert ledger.post(**june, accounts={"bob": -4}, brought=brought) == statement
    with pytest.raises(LedgerConflict, match="to hold or carry over another amount"):
        ledger.post(**june, accounts={"bob": -3}, brought=brought)


def test_two_pools_do_not_bring_forward_the_same(ledger: Ledger) -> None:
    ledger.post(pool="may", valuation="v1", currency="EUR", amounts={"bob": 0}, accounts={"bob": 4})
    brought = ledger.accounts("june", "EUR", ["bob"])
    ledger.post(pool="july", valuation="v2", currency="EUR", amounts={"bob": 4}, accounts={"bob": -4}, brought=brought)
    posting = {"pool": "june", "valuation": "v3", "currency": "EUR", "amounts": {"bob": 4}, "accounts": {"bob": -4}}
    with pytest.raises(LedgerConflict, match="accounts changed while 'june' was divided"):
        ledger.post(**posting, brought=brought)
    assert ledger.balance("june") == {}
    assert ledger.accounts("june", "EUR", ["bob"]) == {}


def test_what_was_brought_from_a_valuation_since_replaced_is_owed(ledger: Ledger) -> None:
    ledger.post(
        pool="may", valuation="v1", currency="EUR", amounts={"ann": 90, "bob": 0}, held={"cy": 6}, accounts={"bob": 4}
    )
    brought = ledger.accounts("june", "EUR", ["bob"])
    ledger.post(pool="june", valuation="v2", currency="EUR", amounts={"bob": 24}, accounts={"bob": -4}, brought=brought)
    ledger.post(pool="may", valuation="v3", currency="EUR", amounts={"ann": 99, "bob": 0}, accounts={"bob": 1})
    assert ledger.balance("may") == {"ann": 99, "bob": 0}
    assert ledger.balance("may", "held") == {"cy": 0}
    assert ledger.balance("may", "account") == {"bob": 1}
    assert ledger.accounts("july", "EUR", ["bob"]) == {"bob": -3}


amounts = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000), min_size=1)


@settings(max_examples=25, deadline=None)
@given(postings=st.lists(amounts, min_size=1, max_size=6))
def test_a_pool_owes_what_the_last_statement_says(postings: list[dict[str, int]]) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    ledger, rows = Ledger(engine), 0
    for index, posting in enumerate(postings):
        ledger.post(pool="p", valuation=f"v{index}", currency="EUR", amounts=posting)
        with Session(engine) as session:
            now = session.scalar(select(func.count()).select_from(Entry)) or 0
        assert now > rows, "rows are only added"
        rows = now
        assert {name: owed for name, owed in ledger.balance("p").items() if owed} == {
            k: v for k, v in posting.items() if v
        }

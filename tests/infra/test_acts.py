"""Acts, on both databases: chained, only added to, and verified whenever they are read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from royalty.infra.audit.checkpoints import Notary
from royalty.infra.audit.receipts import Receipts
from royalty.infra.ledger.acts import Acts, ActsBroken, UnknownAct
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.optouts import record_optout
from royalty.infra.stores.chain import GENESIS
from royalty.models.data.optouts import Withdrawal, withdrawn_images
from tests.ledgers import without_triggers


@pytest.fixture
def acts(ledger: Ledger) -> Acts:
    return Acts(ledger.engine)


def test_each_act_holds_the_hash_of_the_one_before(acts: Acts) -> None:
    assert acts.head() == GENESIS
    first = acts.record("case", "opened", "ann", {"reason": "copies"})
    second = acts.record("case", "message", "bob", {"text": "名前"}, reference=first.reference)
    assert (first.position, first.previous, second.previous) == (1, GENESIS, first.hash)
    assert acts.head() == second.hash
    assert acts.of("case", first.reference[:6]) == [first, second]
    assert acts.all("opt-out") == []
    for wrong in ("", "zzzzzzzz"):
        with pytest.raises(UnknownAct, match=f"there are {first.reference}"):
            acts.of("case", wrong)


@pytest.mark.parametrize("change", ["UPDATE acts SET actor = 'eve'", "DELETE FROM acts"])
def test_the_database_refuses_changes_and_notices_them(acts: Acts, change: str) -> None:
    for number in range(3):
        acts.record("case", "opened", "ann", {"number": number})
    changed = f"{change} WHERE position = 2"
    with acts.engine.connect() as connection, pytest.raises(IntegrityError, match="only added"):
        connection.execute(text(changed))
    forged = "INSERT INTO acts SELECT 9, subject, reference, kind, actor, body, previous, 'f', created_at FROM acts"
    with acts.engine.connect() as connection, pytest.raises(IntegrityError, match="follows the last one"):
        connection.execute(text(f"{forged} WHERE position = 1"))
    on = " ON acts" if acts.engine.dialect.name == "postgresql" else ""
    with acts.engine.begin() as connection:  # by the owner of the database, who can drop triggers
        for trigger in ("acts_no_update", "acts_no_delete") if not on else ("acts_no_update",):
            connection.execute(text(f"DROP TRIGGER {trigger}{on}"))
        connection.execute(text(changed))
    with pytest.raises(ActsBroken, match=r"but act 2 .* has been changed"):
        acts.all()
    with pytest.raises(ActsBroken):
        acts.record("case", "opened", "ann", {})


def test_a_receipt_shows_what_was_withdrawn(acts: Acts, tmp_path: Path) -> None:
    optout = record_optout(acts, "clerk", "ann", ["b.png", "a.png"], "moved to another agency")
    withdrawn = [Withdrawal(optout.contributor, optout.works)]
    images = [(["ann", "bob"], "a.png"), (["bob"], "a.png"), (["ann"], "c.png")]
    owners, files = zip(*images, strict=True)
    assert withdrawn_images(owners, files, withdrawn).tolist() == [True, False, False]
    receipts = Receipts(Notary(tmp_path / "audit"))
    signed = receipts.write(optout.act)

    def fault(document: object) -> str | None:
        return receipts.fault(document, {act.hash for act in acts.all()})

    assert fault(signed) is None
    assert fault({**signed, "signature": None}) is None, "receipts of earlier versions have no signature"
    assert "not by a key of this home" in str(fault({**signed, "signature": {"key": "k", "value": "f"}}))
    assert "not by a key of this home" in str(fault({**signed, "royalty": "another receipt"}))
    forged = {**signed, "act": {**signed["act"], "body": {**signed["act"]["body"], "works": []}}}
    assert "has been changed" in str(fault(forged))
    assert "has been changed" in str(fault({**signed, "previous": "f" * 64}))
    assert "not a receipt" in str(fault({}))
    assert "not a receipt" in str(fault([]))


def test_kept_receipts_notice_that_a_decision_was_rewritten(acts: Acts, tmp_path: Path) -> None:
    """The owner of the database takes all acts away and writes another decision, chained by the product's own code."""
    receipts = Receipts(Notary(tmp_path / "audit", elsewhere=tmp_path / "auditor"))
    acts.record("case", "opened", "clerk", {"reason": "copies"}, "c1")
    acts.record("case", "decided", "judge", {"outcome": "release"}, "c1")
    receipts.write_missing(acts.all())
    before = {path: path.read_bytes() for path in receipts.files()}
    assert [path.name for path in before] == ["act-00000002.json"] * 2
    receipts.write_missing(acts.all())
    assert {path: path.read_bytes() for path in receipts.files()} == before
    assert receipts.problems(acts.all()) == []
    without_triggers(acts.engine)
    with acts.engine.begin() as connection:
        connection.execute(text("DELETE FROM acts"))
    acts.record("case", "opened", "clerk", {"reason": "copies"}, "c1")
    acts.record("case", "decided", "judge", {"outcome": "reverse"}, "c1")
    receipts.write_missing(acts.all())
    shutil.rmtree(tmp_path / "audit" / "checkpoints")
    (problem,) = receipts.problems(acts.all())
    assert str(tmp_path / "auditor" / "act-00000002.json") in problem
    assert "changed or removed" in problem

"""What a posting changes, in words."""

from __future__ import annotations

from dataclasses import replace

from royalty.infra.ledger.change import Money, PersonChange, PoolChange
from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.change import sentences

MAY = Posted(
    "m" * 16, "fund", "2026-05", "division", "c" * 64, "fund", None, 1, "2026-05-31", "EUR", 500, "h", {"ann": 500}, {}
)
ANN = PersonChange("ann", Money(), Money(paid=500))
AGAIN = PoolChange("fund", "2026-06", "EUR", "division", None, None, False, (MAY,), (ANN,), (Money(), Money(paid=500)))


def test_only_a_posting_that_pays_is_said_to_pay_a_credit_again() -> None:
    said = " ".join(sentences(AGAIN))
    assert "divided before: pool fund of 2026-05, statement mmmmmmmmmmmmmmmm of 2026-05-31, €5.00" in said
    assert "Posting this pays it again." in said
    assert "To be paid out: €5.00 to 1 contributor." in said
    repeated = " ".join(sentences(replace(AGAIN, repeats=replace(MAY, id="j" * 16, period="2026-06"))))
    assert "Posting it again changes nothing." in repeated
    assert "The same credit was divided also: pool fund of 2026-05" in repeated
    assert "pays it again" not in repeated


def test_a_replacement_that_moves_no_money_is_said_to_move_none() -> None:
    kept = replace(ANN, before=ANN.after)
    same = replace(AGAIN, replaces=MAY, elsewhere=(), people=(kept,), totals=(Money(paid=500), Money(paid=500)))
    assert "Nobody's amount changes." in " ".join(sentences(same))
    less = replace(same, people=(replace(kept, after=Money(paid=400)),))
    assert "all that it moved is reversed" in " ".join(sentences(less))

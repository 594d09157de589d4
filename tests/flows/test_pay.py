"""Paying: what gates stop is not posted, and what is small adds up over pools."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from royalty.infra.settings import Settings
from royalty.infra.stores.keys import digest_of, modules_run_by
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.payees import Payee
from royalty.tasks.config.credit import CreditEstimateConfig, StoppingConfig
from royalty.tasks.config.payout import LimitsConfig, PayoutConfig
from royalty.tasks.credit.estimate import Credited, CreditInputs, CreditOutputs, load_table
from royalty.tasks.pay.division import MODULES, divide, is_current, release_held
from royalty.tasks.pay.division import post as post_division
from royalty.tasks.pay.periods import unless_paid
from royalty.tasks.pay.remarks import remarks
from royalty.tasks.pay.stages import DividedPool
from royalty.tasks.stages.stage import Finished
from tests.tracing import CERTAINTY


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    here = Settings(home=tmp_path)
    for module in ("royalty.tasks.pay.division", "royalty.tasks.stages.running"):
        monkeypatch.setattr(f"{module}.settings", lambda: here)
    return open_workspace(here)


def credited(space: Workspace, big: float = 9.0, small: float = 1.0, stderr: float = 0.5) -> Credited:
    columns = {"contributor": ["big", "small"], "items": [1, 1], "credit": [big, small], "stderr": stderr}
    ends = {"ci_low": [big - 2 * stderr, small - 2 * stderr], "ci_high": [big + 2 * stderr, small + 2 * stderr]}
    table = pd.DataFrame({**columns, **ends})
    outputs = CreditOutputs(
        table=space.artifacts.put(table.to_parquet(index=False)),
        null_utility=0.0,
        grand_utility=big + 1.0,
        failed=[["big"]],
        trained=4,
        diagnostics={"efficiency_gap": 0.0},
        certainty=CERTAINTY,
    )
    inputs = CreditInputs(CreditEstimateConfig(), StoppingConfig(), [], failed=digest_of([]), seed=0)
    return Finished("credit", "k", inputs, outputs, 0.0, reused=False)


def pay(
    credit: Credited, config: PayoutConfig, pool: str, *, post: bool = True, replace: bool = False, **of: Any
) -> DividedPool:
    """As flows do it: divide, and then post."""
    division = divide.fn(credit, config, pool, **of)
    return post_division.fn(division, config, replace_paid=replace) if post else division


def test_a_gate_stops_the_payout_and_nothing_is_posted(space: Workspace) -> None:
    limits = LimitsConfig(failed_share=0.2, interval_width=0.1, efficiency_gap=0)
    refused = pay(credited(space), PayoutConfig(limits=limits), "may")
    reason = refused.outputs.refusal or ""
    assert "`payout.limits.failed_share` is 0.2" in reason
    assert "0.5, and `payout.limits.interval_width` is 0.1" in reason
    assert "efficiency_gap" not in reason
    assert refused.statement is None
    assert [row["amount"] for row in refused.outputs.rows] == [None, None]
    assert space.ledger.balance("may") == {}


def test_credit_that_is_too_uncertain_is_not_paid_unless_that_is_accepted(space: Workspace) -> None:
    vague = credited(space, stderr=4.0)
    refused = pay(vague, PayoutConfig(), "may")
    reason = refused.outputs.refusal or ""
    assert "in units of the mean credit, is 0.8, and `payout.limits.stderr` is 0.5" in reason
    assert "measure about 6 coalitions" in reason
    assert "`--accept-uncertainty`" in reason
    assert space.ledger.statements() == []
    accepted = pay(vague, PayoutConfig().accepting_uncertainty(), "may")
    assert accepted.outputs.refusal is None
    assert accepted.inputs.config["limits"]["stderr"] is None, "the terms of the statement say so"
    assert pay(credited(space, stderr=2.5), PayoutConfig(), "june").outputs.refusal is None, "at the limit"
    assert PayoutConfig().accepting_uncertainty(False) == PayoutConfig()


def test_those_who_cannot_be_told_apart_are_paid_the_same_and_share_their_ranks(space: Workspace) -> None:
    alike = pay(credited(space, big=2.0), PayoutConfig(), "may").outputs.rows
    assert [(row["amount"], row["rank_best"], row["rank_worst"]) for row in alike] == [("500.00", 1, 2)] * 2
    apart = pay(credited(space), PayoutConfig(), "june").outputs.rows
    assert [(row["amount"], row["rank_best"], row["rank_worst"]) for row in apart] == [
        ("900.00", 1, 1),
        ("100.00", 2, 2),
    ]


def test_with_hysteresis_money_moves_only_with_credit_that_surely_has(space: Workspace) -> None:
    steady = PayoutConfig(pool=Decimal(100), hysteresis=True, policy="proportional")
    first = pay(credited(space), steady, "may")
    assert [row["amount"] for row in first.outputs.rows] == ["90.00", "10.00"]
    inside = pay(credited(space, big=10.5, small=0.5), steady, "may")
    assert [row["amount"] for row in inside.outputs.rows] == ["90.00", "10.00"]
    assert [row["effective_credit"] for row in inside.outputs.rows] == [9.0, 1.0]
    assert "2 of 2 contributors are paid by the credit of the last division" in " ".join(remarks(inside, steady))

    later = steady.model_copy(update={"period": "2026-06"})
    moved = pay(credited(space, big=19.0, small=2.0), later, "may")
    assert [row["effective_credit"] for row in moved.outputs.rows] == [19.0, 1.0], (
        "the small one's is that of the first"
    )
    assert [row["amount"] for row in moved.outputs.rows] == ["95.00", "5.00"]
    again = pay(credited(space, big=10.5, small=0.5), steady, "may")
    assert again.stage.reused, "a later period changes nothing of an earlier one"
    assert (again.outputs, again.statement) == (inside.outputs, inside.statement)
    other = pay(credited(space, big=10.5, small=0.5), steady, "another pool")
    assert [row["effective_credit"] for row in other.outputs.rows] == [10.5, 0.5]


def test_hysteresis_starts_from_a_division_that_was_made_without(space: Workspace) -> None:
    plain = PayoutConfig(pool=Decimal(100), policy="proportional")
    pay(credited(space), plain, "may")
    kept = pay(credited(space, big=10.0), plain.model_copy(update={"hysteresis": True}), "may")
    assert [row["effective_credit"] for row in kept.outputs.rows] == [9.0, 1.0]
    assert not remarks(pay(credited(space, big=12.0), plain, "may"), plain)


def test_a_run_takes_back_what_another_was_paid_only_when_that_is_said(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(10))
    pay(credited(space), config, "may", source="cats")
    refused = pay(credited(space, big=4.0), config, "may", source="dogs")
    assert "'may' was divided by the credit of 'cats', got that of 'dogs'" in (refused.outputs.refusal or "")
    assert (refused.statement, [row["amount"] for row in refused.outputs.rows]) == (None, [None, None])
    assert space.ledger.balance("may") == {"big": 900, "small": 100}
    anew = config.model_copy(update={"corrections": "reverse"})
    pay(credited(space, big=4.0), anew, "may", source="dogs", replace=True)
    assert space.ledger.balance("may") == {"big": 800, "small": 200}


def test_a_correction_is_settled_by_the_next_pool(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(10))
    pay(credited(space), config, "may", source="cats")
    later = credited(space, big=4.0)
    refused = pay(later, config, "may", source="cats")
    assert "takes €1.00 from 1 contributor: big €1.00. Nothing was posted" in (refused.outputs.refusal or "")
    carried = pay(later, config, "may", source="cats", replace=True)
    assert carried.change is not None
    assert carried.change.kind == "correction"
    assert pay(later, config, "may", source="cats").statement == carried.statement, "and repeated"
    assert space.ledger.balance("may") == {"big": 900, "small": 100}
    june = pay(later, config, "june", source="cats")
    assert [row["amount"] for row in june.outputs.rows] == ["7.00", "3.00"]
    assert [row["reason"] for row in june.outputs.rows] == [
        "less what was owed",
        "with what earlier pools carried over",
    ]
    assert space.ledger.balance("june", "reserve") == {"": 100}, "what the pool advanced is back"
    july = pay(later, config, "july", source="cats")
    assert [row["amount"] for row in july.outputs.rows] == ["8.00", "2.00"]


def test_a_period_that_follows_from_a_date_is_paid_once(space: Workspace) -> None:
    monthly = PayoutConfig(pool=Decimal(10), period="2026-05", period_from="month")
    first = pay(credited(space), monthly, "fund")
    proposal = unless_paid(divide.fn(credited(space, big=4.0), monthly, "fund"), monthly)
    assert f"2026-05 was paid on {date.today():%Y-%m-%d} by statement {first.statement}" in proposal.unposted
    again = divide.fn(credited(space), monthly, "fund")
    assert (unless_paid(again, monthly).unposted, again.statement) == ("", first.statement)


def test_small_payments_wait_for_the_next_pool_and_repeating_changes_nothing(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(1), minimum=Decimal("0.15"))
    first = pay(credited(space), config, "may")
    assert [row["amount"] for row in first.outputs.rows] == ["0.90", "0.00"]
    second = pay(credited(space), config, "june")
    assert [row["amount"] for row in second.outputs.rows] == ["0.90", "0.20"]
    assert space.ledger.accounts("july", "EUR", ["small"]) == {}
    for pool, division in (("may", first), ("june", second)):
        again = pay(credited(space), config, pool)
        assert again.stage.reused
        assert again.outputs == division.outputs
        assert again.statement == division.statement


def without_small(space: Workspace) -> Credited:
    """Credit of a later run, after "small" took their images back and "new" came."""
    credit = credited(space)
    table = load_table(space, credit.outputs.table).assign(contributor=["big", "new"])
    return replace(credit, outputs=replace(credit.outputs, table=space.artifacts.put(table.to_parquet(index=False))))


def test_who_left_the_credit_table_is_paid_what_earlier_pools_left(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(1), minimum=Decimal("0.25"), period="2026-05")
    pay(credited(space), config, "fund", source="cats")
    pay(credited(space), config, "another", source="dogs")
    june = config.model_copy(update={"period": "2026-06", "minimum": Decimal("0.15")})
    left = pay(without_small(space), june, "fund", source="cats")
    assert [row["contributor"] for row in left.outputs.rows] == ["big", "new"]
    assert [(row["contributor"], row["amount"]) for row in left.outputs.departed] == [("small", "0.20")]
    assert "small: no longer in the credit table; with what earlier pools carried over; €0.20 paid" in remarks(
        left, june
    )
    assert space.ledger.balance("fund", period="2026-06") == {"big": 90, "new": 0, "small": 20}
    assert space.ledger.accounts("fund", "EUR", ["small"], period="2026-07") == {}
    paid = pd.read_csv(BytesIO(space.artifacts.get(left.outputs.payout)))
    assert paid.contributor.tolist() == ["big", "new", "small"]
    assert paid.amount.sum() == pytest.approx(1.10), "all that the statement pays"
    again = pay(without_small(space), june, "fund", source="cats")
    assert (again.statement, again.outputs) == (left.statement, left.outputs)


def test_who_left_waits_below_the_minimum_without_a_payee_in_dispute_or_with_debt(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(1), minimum=Decimal("0.15"), period="2026-05")
    pay(credited(space), config, "fund", source="cats")
    june = config.model_copy(update={"period": "2026-06"})
    small = pay(without_small(space), june, "fund", source="cats", post=False)
    assert small.outputs.settlements["small"].carried == 10
    assert "small: no longer in the credit table; below the minimum, carried over; €0.10 carried over" in remarks(
        small, june
    )
    lower = june.model_copy(update={"minimum": Decimal(0)})
    payees = {name: Payee(name, "DE89370400440532013000", "EUR") for name in ("big", "new")}
    held = pay(without_small(space), lower, "fund", source="cats", payees=payees)
    assert held.outputs.settlements["small"].held == 10
    assert held.inputs.unpayable == ["small"]
    release_held.fn("fund", lower, ["small"])
    assert space.ledger.balance("fund", period="2026-06")["small"] == 10
    july = PayoutConfig(pool=Decimal(1), period="2026-07", disputed=["small"])
    with pytest.raises(InputError, match="disputed contributors must have credit in the pool, or money left"):
        raise InputError(pay(without_small(space), july, "fund", source="cats").outputs.refusal or "")


def test_what_others_runs_left_is_theirs_to_pay(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(1), minimum=Decimal("0.15"))
    pay(credited(space), config, "cats' pool", source="cats")
    elsewhere = pay(without_small(space), config, "dogs' pool", source="dogs")
    assert elsewhere.outputs.departed == []
    assert [
        row["contributor"] for row in pay(without_small(space), config, "second", source="cats").outputs.departed
    ] == ["small"]


def test_who_has_no_payee_waits_for_one_and_is_released(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(10))
    payees = {"big": Payee("Big", "DE89370400440532013000", "EUR"), "small": Payee("Small", "x", "USD")}
    held = pay(credited(space), config, "may", payees=payees)
    assert [(row["amount"], row["held"]) for row in held.outputs.rows] == [("9.00", "0.00"), ("0.00", "1.00")]
    assert held.outputs.rows[1]["reason"] == "without a payee in this currency, held"
    assert space.ledger.balance("may", "held") == {"small": 100}
    release_held.fn("may", config, ["small"])
    assert space.ledger.balance("may") == {"big": 900, "small": 100}
    again = pay(credited(space), config, "may", payees=None)
    assert again.statement == held.statement, "with a payee by now, and paid"


def test_a_dry_run_posts_nothing_and_ledger_entries_balance(space: Workspace) -> None:
    config = PayoutConfig(pool=Decimal(10), cap=Decimal("0.3"), negative="carry")
    shown = pay(credited(space), config, "may", post=False)
    assert shown.statement is None
    assert space.ledger.statements() == []
    posted = pay(credited(space), config, "may")
    assert posted.outputs.rows == shown.outputs.rows
    assert space.ledger.balance("may", "reserve") == {"": 400}
    assert space.ledger.balance("may", "pool") == {"": -1000}


def test_the_efficiency_gap_is_part_of_what_is_divided(space: Workspace) -> None:
    config = PayoutConfig(limits=LimitsConfig(efficiency_gap=0.1))
    credit = credited(space)
    gap = replace(credit, outputs=replace(credit.outputs, diagnostics={"efficiency_gap": 0.5}))
    assert pay(credit, config, "may").outputs.refusal is None
    assert "`payout.limits.efficiency_gap` is 0.1" in (pay(gap, config, "may").outputs.refusal or "")


def test_the_key_of_a_division_covers_the_arithmetic_and_no_server(space: Workspace) -> None:
    division = pay(credited(space), PayoutConfig(), "may")
    assert is_current(division.stage)
    assert not is_current(replace(division.stage, key="of other code"))
    covered = modules_run_by(*MODULES)
    assert {"royalty.models.payout.apportionment", "royalty.models.payout.gates"} <= covered
    assert not [name for name in covered if name.startswith(("royalty.infra.workspace", "royalty.infra.tracking"))]
    assert not [name for name in covered if name.startswith("royalty.tasks.credit")]

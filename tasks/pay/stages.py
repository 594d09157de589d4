"""Inputs and outputs of the stage that divides a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from royalty.infra.ledger.change import PoolChange
from royalty.models.payout.division import Personal, Settlement, Terms
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class PayInputs:
    """A credit table, and the terms by which a pool is divided.

    Attributes:
        table: digest of the credit table.
        failed: number of coalitions whose training failed, and of all models; for the gates.
        config: payout settings that affect the division.
        pool: name of the pool.
        period: period of the pool; "" if it has none.
        unpayable: contributors without a payee in the currency of the pool.
        confusable: contributors whose name looks like that of another payee.
        brought: balances that earlier pools left on accounts, in minor units; also of contributors who are not in the
            table, if the pool has to pay them.
        needed: coalitions with which the standard error is expected to meet its limit; None if that is not known.
        before: digest of the credit table that the pool was last divided by; None if it was not divided, or if
            `hysteresis` is off.
        withheld: minor units of the pool that the terms of use keep.
        efficiency_gap, marginal_error: diagnostics of the credit, for the gates; see
            `royalty.models.payout.gates.measure_gates`.
        holds: why money is held, by contributor: open cases, and payees who have not passed the checks.
        personal: terms of single contributors as JSON; see `royalty.models.payout.division.Personal`.
        converted: currency and rate of payments in another currency than the pool's, by contributor.
    """

    table: str
    failed: list[int]
    config: Mapping[str, Any]
    pool: str
    # Rows of earlier versions lack these.
    period: str = ""
    unpayable: list[str] = field(default_factory=list)
    brought: Mapping[str, int] = field(default_factory=dict)
    efficiency_gap: float = 0.0
    marginal_error: float = 0.0
    needed: int | None = None
    before: str | None = None
    confusable: list[str] = field(default_factory=list)
    withheld: int = 0
    holds: Mapping[str, list[str]] = field(default_factory=dict)
    personal: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    converted: Mapping[str, list[str]] = field(default_factory=dict)

    def terms(self, config: PayoutConfig) -> Terms:
        """Terms of the division with what these inputs hold."""
        personal = {
            name: Personal(own.get("minimum"), Fraction(own.get("reserve", 0)), Fraction(own.get("withholding", 0)))
            for name, own in self.personal.items()
        }
        return config.terms(self.unpayable, self.confusable, self.holds, personal)


@dataclass(frozen=True)
class PayOutputs:
    """The settlement of each contributor, or the reason for refusing the payout.

    Attributes:
        refusal: why nothing is paid; None if the pool is paid.
        settlements: by contributor; empty if the payout was refused.
        reserve: part of the pool that goes to nobody now, in minor units.
        payout: digest of the payout table (CSV): `rows`, then `departed`.
        rows: the contributors of the credit table as records, highest credit first.
        basis: digest of the credit table that the pool is divided by; None without `hysteresis`: that of the inputs.
        tiers: groups of contributors who are paid the same, highest credit first; empty for policies without tiers.
        departed: contributors who are not in the credit table and get what earlier pools left, as records.
    """

    refusal: str | None
    settlements: dict[str, Settlement]
    reserve: int
    payout: str
    rows: list[dict[str, Any]]
    # Rows of earlier versions lack these.
    basis: str | None = None
    tiers: list[list[str]] = field(default_factory=list)
    departed: list[dict[str, Any]] = field(default_factory=list)


Paid = Finished[PayInputs, PayOutputs]

PAY = Stage("pay", PayInputs, PayOutputs)


def posted_terms(paid: Paid) -> dict[str, Any]:
    """The terms of a division, as its statement records them.

    If it keeps earlier credit, they hold the digests of the credit that divides the pool, and of the one before.
    """
    basis = paid.outputs.basis
    bases = {} if basis is None else {"basis": basis, "before": paid.inputs.before}
    inputs = paid.inputs
    held: dict[str, Any] = {"unpayable": inputs.unpayable}
    held |= {
        name: getattr(inputs, name)
        for name in ("confusable", "holds", "personal", "converted")
        if getattr(inputs, name)
    }
    return {**inputs.config, **held, **bases}


@dataclass(frozen=True)
class DividedPool:
    """A divided pool, and facts about its payment in this run.

    Attributes:
        stage: the division; a refusal if the ledger refused it.
        shared_accounts: groups of contributors who are paid into the same account.
        lookalikes: groups of contributors whose names look the same, and who are not.
        source: the run that the credit belongs to.
        change: what posting the division changes; None if the payout was refused.
        statement: ID of the ledger statement that holds the division; None if it is not posted.
        unposted: why a division that was to be posted was not; empty if it was, or is a proposal.
        remarks: on pools that look like this one, and on what could not be shown after it was posted.
        approval: ID of the approval by a second person that it waits for, or that was rejected; None without one.
    """

    stage: Paid
    shared_accounts: list[list[str]]
    source: str | None
    change: PoolChange | None
    statement: str | None
    unposted: str = ""
    lookalikes: list[list[str]] = field(default_factory=list)
    remarks: Sequence[str] = ()
    approval: str | None = None

    @property
    def inputs(self) -> PayInputs:
        return self.stage.inputs

    @property
    def outputs(self) -> PayOutputs:
        return self.stage.outputs

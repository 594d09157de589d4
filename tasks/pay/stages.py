"""The stage that divides a pool: what it takes, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from royalty.models.payout.division import Settlement
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class PayInputs:
    """A credit table and the terms by which a pool is divided.

    Attributes:
        table: digest of the credit table.
        failed: coalitions whose training failed, and models trained, for the gates.
        config: the payout's settings that change how the pool is divided.
        unpayable: contributors without a payee in the currency of the pool.
        brought: minor units that earlier pools left on accounts.
        efficiency_gap, marginal_error: of the credit, for the gates; see `royalty.models.payout.gates.measure_gates`.
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


@dataclass(frozen=True)
class PayOutputs:
    """What becomes of each contributor's share; or the refusal to pay.

    Attributes:
        refusal: why nothing is paid; None if it is.
        reserve: minor units of the pool that nobody gets now.
        payout: digest of the payout table (CSV).
        rows: that table as records, highest credit first.
    """

    refusal: str | None
    settlements: dict[str, Settlement]
    reserve: int
    payout: str
    rows: list[dict[str, Any]]


Paid = Finished[PayInputs, PayOutputs]

PAY = Stage("pay", PayInputs, PayOutputs)


@dataclass(frozen=True)
class DividedPool:
    """A divided pool, and what only this run knows of it.

    Attributes:
        stage: the division itself, refused if the ledger refused it.
        shared_accounts: contributors who are paid into one account.
        statement: of the ledger; None if nothing was posted.
    """

    stage: Paid
    shared_accounts: list[list[str]]
    statement: str | None

    @property
    def inputs(self) -> PayInputs:
        return self.stage.inputs

    @property
    def outputs(self) -> PayOutputs:
        return self.stage.outputs

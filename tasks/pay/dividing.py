"""Computation of the stage that divides a pool. The key of the stage covers this module and its imports only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd

from royalty.infra.ledger.money import decimals_of
from royalty.infra.pages.cells import csv_bytes
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.base.errors import InputError
from royalty.models.data.teams import members
from royalty.models.payout.conversion import converted as convert
from royalty.models.payout.division import Division, Settlement, divide_pool
from royalty.models.payout.equal import parts_of
from royalty.models.payout.gates import GATES, breaches, measure_gates
from royalty.models.payout.hysteresis import effective_credits
from royalty.models.payout.policies import Credit, tiers
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.credits import credits_of, images_of, ranked, table_of
from royalty.tasks.pay.stages import PayInputs, PayOutputs

if TYPE_CHECKING:
    from royalty.infra.workspace import Workspace


def division_by(
    table: pd.DataFrame, before: pd.DataFrame | None, inputs: PayInputs, config: PayoutConfig
) -> Callable[[Workspace], PayOutputs]:
    """Return the computation that `run_here` runs.

    Args:
        table, before: the credit tables that `inputs` names by their digests.
        config: the payout settings that `inputs` holds as JSON.
    """

    def compute(space: Workspace) -> PayOutputs:
        credits, basis, shown = credits_of(table), None, table
        if config.hysteresis:
            credits = effective_credits(credits, {} if before is None else credits_of(before))
            basis = space.artifacts.put(table_of(credits).to_parquet(index=False))
            shown = table.assign(effective_credit=[credits[name].value for name in table["contributor"]])
        try:
            division = _divide(table, credits, inputs, config)
        except InputError as error:  # a refusal in the outputs: the report shows the credit, then the flow fails
            return refused(space.artifacts, table, config, str(error))
        settlements = {**division.settlements, **_of_teams(division)}
        rows = settled(shown, config, settlements, inputs.converted)
        gone = departed(table, config, division.settlements, inputs.converted)
        outputs = _outputs(space.artifacts, None, division.settlements, division.reserve, rows, gone)
        return replace(outputs, basis=basis, tiers=tiers(credits) if config.policy == "equal-tiers" else [])

    return compute


def _of_teams(division: Division) -> dict[str, Settlement]:
    """For teams, a row with their share; the amounts are those of their members."""
    return {
        team: Settlement(share, 0, 0, 0, 0, 0, 0, 0, (f"divided among {_weighted(team)}",))
        for team, share in division.shares.items()
        if team not in division.settlements
    }


def _weighted(team: str) -> str:
    return ", ".join(f"{name} ({weight})" for name, weight in members(team).items())


def refused(artifacts: ArtifactStore, table: pd.DataFrame, config: PayoutConfig, reason: str) -> PayOutputs:
    """Outputs of a refused payout: the credit table, with the reason in every row."""
    rows = ranked(table).assign(share=None, amount=None, currency=config.currency, reason=reason)
    return _outputs(artifacts, reason, {}, 0, rows, rows[:0])


Converted = Mapping[str, Sequence[str]]
"""Currency and rate by contributor."""


def settled(
    table: pd.DataFrame,
    config: PayoutConfig,
    settlements: Mapping[str, Settlement],
    converted: Converted | None = None,
) -> pd.DataFrame:
    """Add ranks, shares and amounts to the credit table, in the currency of the pool, and converted amounts if any.

    `credit_apart` and `share_apart` are the credit and the share less the mean of all: what tells contributors apart.
    """
    paid = _with_money(ranked(table), config, settlements, converted or {})
    apart = {f"{column}_apart": parts_of(paid[column].tolist()).apart for column in ("credit", "share")}
    return paid.assign(**apart)


def departed(
    table: pd.DataFrame,
    config: PayoutConfig,
    settlements: Mapping[str, Settlement],
    converted: Converted | None = None,
) -> pd.DataFrame:
    """Amounts of contributors who are not in the credit table, with the columns that `settled` adds to it."""
    names = [name for name in settlements if name not in set(table["contributor"])]
    return _with_money(pd.DataFrame({"contributor": names}), config, settlements, converted or {})


def _with_money(
    table: pd.DataFrame, config: PayoutConfig, settlements: Mapping[str, Settlement], converted: Converted
) -> pd.DataFrame:
    ordered = [settlements[name] for name in table["contributor"]]
    shares = [row.share / config.minor_units if config.minor_units else 0.0 for row in ordered]

    def money(amounts: list[int]) -> list[str]:
        return [f"{config.major_units(amount):f}" for amount in amounts]

    return table.assign(
        share=shares,
        amount=money([row.amount for row in ordered]),
        currency=config.currency,
        held=money([row.held for row in ordered]),
        carried=money([row.carried for row in ordered]),
        debt=money([row.debt for row in ordered]),
        reason=["; ".join(row.reasons) for row in ordered],
        **({"withheld": money([row.withheld for row in ordered])} if any(row.withheld for row in ordered) else {}),
        **(_converted(table, config, ordered, converted) if converted else {}),
    )


def _converted(
    table: pd.DataFrame, config: PayoutConfig, settlements: Sequence[Settlement], converted: Converted
) -> dict[str, list[str]]:
    """Columns with the amount paid in the currency of the account, and the rate; empty for those paid in the pool's."""
    columns: dict[str, list[str]] = {"paid_amount": [], "paid_currency": [], "rate": []}
    for name, row in zip(table["contributor"], settlements, strict=True):
        currency, rate = converted.get(name, ("", ""))
        amount = convert(config.major_units(row.amount), Decimal(rate), decimals_of(currency)) if rate else None
        for column, text in zip(columns, ("" if amount is None else f"{amount:f}", currency, rate), strict=True):
            columns[column].append(text)
    return columns


def _divide(table: pd.DataFrame, credits: Mapping[str, Credit], inputs: PayInputs, config: PayoutConfig) -> Division:
    """Check the gates, then divide the pool.

    Args:
        table: the credit that the gates look at.
        credits: the credit that the pool is divided by.

    Raises:
        InputError: a gate or the terms refuse the payout.
    """
    values, low, high, stderr = (table[column].to_numpy(float) for column in ("credit", "ci_low", "ci_high", "stderr"))
    failed, trained = inputs.failed
    measured = measure_gates(
        values,
        low,
        high,
        stderr=stderr,
        efficiency_gap=inputs.efficiency_gap,
        marginal_error=inputs.marginal_error,
        failed=failed,
        trained=trained,
    )
    limits = {gate: getattr(config.limits, gate) for gate in GATES}
    if breached := breaches(measured, limits, needed=inputs.needed):
        raise InputError("; ".join(breach.sentence for breach in breached))
    pool = config.minor_units - inputs.withheld
    division = divide_pool(pool, credits, inputs.terms(config), inputs.brought, images_of(table))
    return replace(division, reserve=division.reserve + inputs.withheld)


def _outputs(
    artifacts: ArtifactStore,
    refusal: str | None,
    settlements: dict[str, Settlement],
    reserve: int,
    rows: pd.DataFrame,
    gone: pd.DataFrame,
) -> PayOutputs:
    return PayOutputs(
        refusal=refusal,
        settlements=settlements,
        reserve=reserve,
        payout=artifacts.put(csv_bytes(pd.concat([rows, gone]) if len(gone) else rows)),
        rows=_records(rows),
        departed=_records(gone),
    )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(column): cell for column, cell in row.items()} for row in table.to_dict("records")]

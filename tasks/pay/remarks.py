"""Sentences about a divided pool: payments that differ from the policy's shares, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.stages import DividedPool, PayOutputs

NAMED = 12
"""Most tiers, and most contributors of a tier, that a sentence names."""


def adjustments(paid: PayOutputs, money: Callable[[int], str]) -> dict[str, tuple[str, ...]]:
    """Reasons for payments that differ from the policy's share, and the remaining amounts, by contributor.

    For those who are not in the credit table, also what they are paid. `money` formats minor units.
    """
    found = {}
    gone = {row["contributor"] for row in paid.departed}
    for name, row in paid.settlements.items():
        unpaid = {"held": row.held, "withheld as tax": row.withheld, "carried over": row.carried, "owed": row.debt}
        unpaid |= {"paid": row.amount} if name in gone else {}  # no table of credit shows it
        amounts = [f"{money(amount)} {state}" for state, amount in unpaid.items() if amount]
        if row.reasons:
            found[name] = (*row.reasons, *amounts)
    return found


def kept_credit(paid: PayOutputs) -> str:
    """Name the contributors who are paid by earlier credit, because theirs is not certain to have moved."""
    names = [row["contributor"] for row in paid.rows if row.get("effective_credit", row["credit"]) != row["credit"]]
    if not names:
        return ""
    return (
        f"{len(names)} of {len(paid.rows)} contributors are paid by the credit of the last division, because theirs is "
        f"not certain to have moved: {', '.join(names)}"
    )


def tier_sentence(tiers: Sequence[Sequence[str]]) -> str:
    """Name the tiers of equal pay; empty without tiers."""
    if not tiers:
        return ""
    if len(tiers) == 1:
        return f"All {len(tiers[0])} contributors form one tier."
    if all(len(tier) == 1 for tier in tiers):
        return f"Each of the {len(tiers)} contributors has a tier of their own."
    listed = "; ".join(f"{place}. {_listed(tier)}" for place, tier in enumerate(tiers[:NAMED], 1))
    more = f"; and {len(tiers) - NAMED} more" if len(tiers) > NAMED else ""
    return f"There are {len(tiers)} tiers: {listed}{more}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def remarks(division: DividedPool, config: PayoutConfig) -> list[str]:
    """Points to check before paying: adjusted amounts, the reserve, and shared accounts."""
    adjusted = adjustments(division.outputs, config.formatted)
    notes = [f"{name}: {'; '.join(reasons)}" for name, reasons in adjusted.items()]
    if division.outputs.reserve:
        notes.append(f"{config.formatted(division.outputs.reserve)} stays in reserve")
    if kept := kept_credit(division.outputs):
        notes.append(kept)
    notes += [f"{', '.join(names)} are paid into the same account" for names in division.shared_accounts]
    return notes + [
        f"{' and '.join(names)} look the same and are not one payee ({', '.join(map(ascii, names))}), so that their "
        "money is held; release it to whom it belongs"
        for names in division.lookalikes
    ]

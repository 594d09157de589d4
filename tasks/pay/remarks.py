"""Sentences about a divided pool: who is paid another amount than the policy alone gives, and why."""

from __future__ import annotations

from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.stages import DividedPool, PayOutputs


def adjustments(paid: PayOutputs, config: PayoutConfig) -> dict[str, str]:
    """By contributor: why another amount is paid than the policy alone gives, and where the rest is."""
    sentences = {}
    for name, row in paid.settlements.items():
        parts = {"held": row.held, "carried over": row.carried, "owed": row.debt}
        rest = [f"{config.formatted(amount)} {part}" for part, amount in parts.items() if amount]
        if row.reasons:
            sentences[name] = "; ".join([*row.reasons, *rest])
    return sentences


def remarks(division: DividedPool, config: PayoutConfig) -> list[str]:
    """What a person who pays should look at: adjusted amounts, the reserve, and accounts that contributors share."""
    notes = [f"{name}: {sentence}" for name, sentence in adjustments(division.outputs, config).items()]
    if division.outputs.reserve:
        notes.append(f"{config.formatted(division.outputs.reserve)} stays in reserve")
    return notes + [f"{', '.join(names)} are paid into one account" for names in division.shared_accounts]

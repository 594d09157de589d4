"""Why money is held when a pool is divided: open cases, and checks that payees have not passed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.payees import Payee, unchecked
from royalty.tasks.config.payout import PayoutConfig


def holds_of(
    space: Workspace, config: PayoutConfig, contributors: Collection[str], payees: Mapping[str, Payee] | None
) -> dict[str, list[str]]:
    """Why money is held now, by contributor."""
    cases = space.cases.held()
    reasons = {name: [f"case {case}" for case in cases[name]] for name in sorted(contributors) if name in cases}
    for name, unpassed in _unchecked(config, payees, contributors).items():
        reasons.setdefault(name, []).extend(unpassed)
    return reasons


def check_released(config: PayoutConfig, payees: Mapping[str, Payee] | None, release: Sequence[str]) -> None:
    """Check that those whose held money is to be paid have passed the checks that the terms require.

    Raises:
        InputError: one has not.
    """
    for name, reasons in _unchecked(config, payees, release).items():
        raise InputError(
            f"payees pass the checks of `payout.checks` before they are paid, and {name!r} has not: "
            f"{', '.join(reasons)}. Nothing was posted; update the row in `contributors.csv`"
        )


def _unchecked(
    config: PayoutConfig, payees: Mapping[str, Payee] | None, contributors: Collection[str]
) -> dict[str, list[str]]:
    return unchecked(payees, contributors, config.payee_checks(), datetime.now(UTC).date())

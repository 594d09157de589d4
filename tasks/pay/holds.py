"""Why money is held when a pool is divided: open cases, and checks that payees have not passed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from royalty.infra.ledger.verification import FOLLOWED
from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
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


def check_release_terms(pool: str, config: PayoutConfig) -> None:
    """Check that held money is released by the terms that its pool was divided by.

    Raises:
        InputError: checks of payees, or taxes, are others.
    """
    ledger = open_workspace(settings()).ledger
    place = (pool, config.period or "")
    statements = (each for each in ledger.verified_statements() if (each.pool, each.period) == place)
    divided = [each for each in statements if each.kind in FOLLOWED]
    posted = ledger.terms(pool, divided[-1].valuation, period=place[1]) if divided else None
    if posted is None:
        return
    now, usual = config.model_dump(mode="json"), PayoutConfig().model_dump(mode="json")
    changed = [name for name in ("checks", "withholding") if posted.get(name, usual[name]) != now[name]]
    if changed:
        raise InputError(
            f"held money is released by the terms that its pool was divided by, and "
            f"{' and '.join(f'`payout.{name}`' for name in changed)} differ. Nothing was posted; give those terms "
            "(`--policy`)"
        )

"""Why money is held when a pool is divided: open cases."""

from __future__ import annotations

from collections.abc import Collection

from royalty.infra.workspace import Workspace


def holds_of(
    space: Workspace, pool: str, period: str, valuation: str, contributors: Collection[str]
) -> dict[str, list[str]]:
    """Reasons by contributor; a pool that was divided by this valuation holds what it held then.

    So repeating a payout changes nothing, whatever cases were opened or decided since.
    """
    posted = space.ledger.terms(pool, valuation, period=period)
    if posted is not None:
        return {name: list(reasons) for name, reasons in posted.get("holds", {}).items()}
    cases = space.cases.held()
    return {name: [f"case {case}" for case in cases[name]] for name in sorted(contributors) if name in cases}

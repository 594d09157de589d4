"""What a statement rests on: the run, its credit, the rows and files behind that, and the payees."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from royalty.infra.ledger.postings import LedgerConflict, Posted
from royalty.infra.stores.keys import canonical, digest_of
from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.payout.payees import Payee
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.pay.personal import converted_of
from royalty.tasks.pay.stages import Paid

Payees = Mapping[str, Payee] | None
NAMED = 10
"""Payees that a message names."""


def division_evidence(space: Workspace, paid: Paid, run: str | None, payees: Payees) -> dict[str, Any]:
    """Evidence of a division; its parts are described in `royalty.infra.ledger.evidence`.

    Raises:
        LedgerConflict: a row behind the credit was changed after it was written.
    """
    table = paid.inputs.table
    makers = _makers(space, table, run)
    upstream = space.lineage.upstream([paid.key, *makers])
    nodes = {paid.key, *makers, *upstream}
    rows, origins = space.runs.contents(nodes), space.lineage.origins(nodes)
    if changed := sorted(key for key, origin in origins.items() if rows.get(key) != origin.content):
        raise LedgerConflict(
            f"a pool is divided by credit as it was computed, and the row {changed[0]} of the run store, which this "
            "credit rests on, was changed after it was written. Restore the database from a backup, and make no "
            "payment from this one"
        )
    config = None if run is None else space.runs.config(run)
    return {
        "run": None if config is None else {"name": run, "config": digest_of(config)},
        "credit": {"table": table, "stages": sorted(makers)},
        "division": {"stage": paid.key, "payout": paid.outputs.payout},
        "payees": store_payees(space, payees, paid.outputs.settlements),
        "rows": dict(sorted(rows.items())),
        "files": {digest: edge.role for digest, edge in sorted(upstream.items()) if digest not in rows},
    }


def _makers(space: Workspace, table: str, run: str | None) -> set[str]:
    """Keys of the stages whose output a credit table is: by lineage, and by the credit that is recorded for the run."""
    makers = {edge.parent for edge in space.lineage.parents([table]) if edge.run == edge.parent}
    credited = None if run is None else space.ledger.credit_of(run)
    stage = None if credited is None else space.runs.stage(credited[1])
    return makers | ({stage.key} if stage is not None and stage.outputs.get("table") == table else set())


def export_evidence(space: Workspace, posted: Posted, payees: Payees, exports: Mapping[str, str]) -> dict[str, Any]:
    """Evidence of payment files.

    Args:
        exports: digests of the files by name.
    """
    payees_digest = store_payees(space, payees, posted.moved)
    return {"statement": posted.id, "payees": payees_digest, "exports": dict(exports)}


def store_payees(space: Workspace, payees: Payees, contributors: Collection[str]) -> str | None:
    """Digest of the payees of these contributors, who are stored; None if all are paid by name."""
    if payees is None:
        return None
    rows = {name: _fields(payees[name]) for name in sorted(contributors) if name in payees}
    return space.artifacts.put(canonical(rows).encode())


def check_payees(space: Workspace, posted: Posted, payees: Payees) -> None:
    """Check that those whom a statement pays have the accounts that it was posted or first exported with.

    Raises:
        InputError: an account has changed since.
    """
    digest = _posted_payees(space, posted)
    paid = [name for name, amount in posted.moved.items() if amount > 0]
    if digest is None or not paid:
        return
    if not space.artifacts.holds(digest):
        raise InputError(
            f"the payees of statement {posted.id} are those that it was posted with, and their list {digest} is not in "
            f"{space.artifacts.place}. Set ROYALTY_HOME to the home that posted it"
        )
    before, now = json.loads(space.artifacts.get(digest)), payees or {}
    changed = [name for name in paid if before.get(name) != (_fields(now[name]) if name in now else None)]
    if changed:
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        raise InputError(
            f"the payees of statement {posted.id} are those that it was posted with, and these have changed since: "
            f"{', '.join(changed[:NAMED])}{more}. No file was written. Restore the row in `contributors.csv` (or the "
            "file in `payout.payees`); later statements are paid into a new account"
        )


def _posted_payees(space: Workspace, posted: Posted) -> str | None:
    """Digest of the payees that a statement was posted with; or else of those of its first payment files."""
    own = space.ledger.evidence_of(posted.evidence) if posted.evidence else None
    if own and own.get("payees"):
        return str(own["payees"])
    for evidence in space.ledger.exports_of(posted.id):
        if evidence.get("payees"):
            return str(evidence["payees"])
    return None


def _fields(payee: Payee) -> list[str]:
    return [payee.name, payee.account, payee.currency, payee.country, payee.town]


def check_rates(space: Workspace, posted: Posted, config: PayoutConfig, payees: Payees) -> None:
    """Check that payments in other currencies have the exchange rates that the pool was divided with.

    Raises:
        InputError: a rate has changed since.
    """
    terms = space.ledger.terms(posted.pool, posted.valuation, period=posted.period)
    if terms is None:
        return
    paid = [name for name, amount in posted.moved.items() if amount > 0]
    before, now = terms.get("converted", {}), converted_of(config, payees, paid)
    changed = [name for name in paid if list(before.get(name, ())) != now.get(name, [])]
    if changed:
        raise InputError(
            f"the exchange rates of statement {posted.id} are those that its pool was divided with, and those of "
            f"{', '.join(changed[:NAMED])} have changed since. No file was written. Restore `payout.conversion`"
        )

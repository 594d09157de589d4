"""What was paid by a credit table, on the MLflow run that found the credit: proposed, paid, released or replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.ledger.money import formatted
from royalty.infra.ledger.postings import Posted
from royalty.infra.settings import settings
from royalty.infra.tracking.records import Payment
from royalty.infra.workspace import Workspace, notary, open_workspace
from royalty.tasks.report.stages import TRACK
from royalty.tasks.report.text import escaped


@task(name="show payments in MLflow", cache_policy=NO_CACHE)
def show_payments(pool: str, period: str | None) -> list[str]:
    """Update the MLflow runs of every credit table that a pool was divided by, after a posting.

    They also get the last signed checkpoint of the ledger, which a time-stamping authority stamps if one is set. The
    posting stands, whether or not MLflow and the authority can be reached.

    Returns:
        Remarks if a run could not be updated, or a checkpoint was not stamped.
    """
    space, keeper = open_workspace(settings()), notary(settings())
    remarks = keeper.stamp()
    if not space.runs.stages(TRACK.name):  # nothing is logged, and MLflow takes seconds to import
        return remarks
    from mlflow.exceptions import MlflowException

    from royalty.infra.tracking.client import open_tracking

    statements = space.ledger.statements()
    tables = {posted.valuation for posted in statements if (posted.pool, posted.period) == (pool, period or "")}
    try:
        for table in sorted(tables):
            open_tracking(settings()).show_payment(table, payment_of(statements, table), keeper.last_file())
    except MlflowException as error:
        remarks.append(f"MLflow does not show this payment yet: {error}. Repeat the command when MLflow can be reached")
    return remarks


def payment(space: Workspace, table: str, refusal: str | None) -> Payment:
    """What was paid by a credit table so far.

    Args:
        table: digest of the credit table.
        refusal: why nothing is paid; None if it is paid or proposed.
    """
    if refusal:
        return Payment("refused", f"not paid: {escaped(refusal)}.")
    return payment_of(space.ledger.statements(), table)


def payment_of(statements: Sequence[Posted], table: str) -> Payment:
    """What statements say about a credit table."""
    own = [posted for posted in statements if posted.valuation == table and posted.kind != "export"]
    if not own:
        return Payment("proposed", "proposed; nothing is paid.")
    active = [posted for posted in own if _stands(posted, statements)]
    last = (active or own)[-1]
    text = "; ".join(_sentence(posted, statements) for posted in own)
    return Payment("paid" if active else "replaced", f"{text}.", last.id, last.created_at)


def _stands(posted: Posted, statements: Sequence[Posted]) -> bool:
    """Whether a pool still follows a statement: none of another credit table came after it."""
    return next(_later(posted, statements), None) is None


def _later(posted: Posted, statements: Sequence[Posted]) -> Iterator[Posted]:
    for other in statements:
        same_pool = (other.pool, other.period) == (posted.pool, posted.period)
        if same_pool and other.sequence > posted.sequence and other.valuation != posted.valuation:
            yield other


def _sentence(posted: Posted, statements: Sequence[Posted]) -> str:
    pool = escaped(" of ".join(filter(None, (posted.pool, posted.period))))
    moved = sum(amount for amount in posted.paid.values())
    what = {
        "division": f"{formatted(posted.amount, posted.currency)} of the pool {pool} divided, and "
        f"{formatted(moved, posted.currency)} paid",
        "correction": f"the pool {pool} corrected on the accounts of {len(posted.accounts)} contributor(s)",
        "decision": f"money of the pool {pool} moved by the decision of a case",
        "release": f"{formatted(moved, posted.currency)} released to {', '.join(map(escaped, posted.paid))}",
    }[posted.kind]
    sentence = f"{what} on {posted.created_at[:10]} by statement `{posted.id}`"
    later = next(_later(posted, statements), None)
    if later is None:
        return sentence
    verb = "corrected" if later.kind == "correction" else "reversed and replaced"
    return f"{sentence}, {verb} on {later.created_at[:10]} by statement `{later.id}`"

"""What was paid by a credit table: proposed, paid, released or replaced; and the same on its MLflow run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

from prefect.cache_policies import NO_CACHE

from royalty.infra.ledger.money import formatted
from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.report import PaymentRow
from royalty.infra.settings import settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.tracking.records import Payment
from royalty.infra.wording import counted
from royalty.infra.workspace import Workspace, notary, open_workspace
from royalty.tasks.report.stages import TRACK
from royalty.tasks.report.text import escaped
from royalty.tasks.report.uses import Uses, credit_behind, uses_of
from royalty.tasks.stages.task import task

SHOWN = "show payments"
"""Name of the stage that is recorded once MLflow shows the payments of a pool."""


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
    if not space.runs.stages(TRACK.name):  # nothing is logged
        return remarks
    statements = space.ledger.statements()
    uses, pool_now = uses_of(space, statements), (pool, period or "")
    tables = {credit_behind(posted, uses) for posted in statements if (posted.pool, posted.period) == pool_now}
    payments = {table: payment_of(statements, table, uses) for table in sorted(tables)}
    checkpoint = keeper.last_file()
    shown = {
        "mlflow": settings().tracking_uri,
        "payments": {table: dataclasses.asdict(payment) for table, payment in payments.items()},
        "checkpoint": checkpoint and checkpoint.name,
    }
    key = digest_of(shown)
    if space.runs.stage(key) is not None:  # MLflow takes seconds to import
        return remarks
    from mlflow.exceptions import MlflowException

    from royalty.infra.tracking.client import open_tracking

    start = time.perf_counter()
    try:
        for table, payment in payments.items():
            open_tracking(settings()).show_payment(table, payment, checkpoint)
        space.runs.record_stage(StageRecord(SHOWN, key, shown, {}, time.perf_counter() - start))
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
    statements = space.ledger.statements()
    return payment_of(statements, table, uses_of(space, statements))


def payment_of(statements: Sequence[Posted], table: str, uses: Uses) -> Payment:
    """What statements say about a credit table."""
    own = [posted for posted in statements if credit_behind(posted, uses) == table and posted.kind != "export"]
    if not own:
        return Payment("proposed", "proposed; nothing is paid.")
    active = [posted for posted in own if _stands(posted, statements)]
    last = (active or own)[-1]
    text = "; ".join(_sentence(posted, statements, uses) for posted in own)
    return Payment("paid" if active else "replaced", f"{text}.", last.id, last.created_at)


def _stands(posted: Posted, statements: Sequence[Posted]) -> bool:
    """Whether a pool still follows a statement: none of another credit table came after it."""
    return next(_later(posted, statements), None) is None


def _later(posted: Posted, statements: Sequence[Posted]) -> Iterator[Posted]:
    for other in statements:
        same_pool = (other.pool, other.period) == (posted.pool, posted.period)
        if same_pool and other.sequence > posted.sequence and other.valuation != posted.valuation:
            yield other


def payment_rows(statements: Sequence[Posted], table: str, uses: Uses) -> Iterator[PaymentRow]:
    """What statements say about a credit table, as the report shows it."""
    for posted in statements:
        if credit_behind(posted, uses) == table and posted.kind != "export":
            fate = _fate(posted, statements) or "in force"
            yield PaymentRow(pool_of(posted), posted.created_at, _what(posted, uses), posted.id, fate)


def pool_of(posted: Posted) -> str:
    """Name of the pool of a statement, with the period if it has one."""
    return " of ".join(filter(None, (posted.pool, posted.period)))


def _sentence(posted: Posted, statements: Sequence[Posted], uses: Uses) -> str:
    """The same in Markdown."""
    what = _what(posted, uses, of_pool=f" of the pool {escaped(pool_of(posted))}", shown=escaped)
    sentence = f"{what} on {posted.created_at[:10]} by statement `{posted.id}`"
    return ", ".join(filter(None, (sentence, _fate(posted, statements, mark="`"))))


def _what(posted: Posted, uses: Uses, *, of_pool: str = "", shown: Callable[[str], str] = str) -> str:
    """What a statement did, and the money that it moved; `shown` formats names."""
    moved = formatted(sum(posted.paid.values()), posted.currency)
    use = uses.get(posted.valuation)
    parts = f", {use.sentence}," if use is not None else ","
    return {
        "division": f"{formatted(posted.amount, posted.currency)}{of_pool} divided{parts} and {moved} paid",
        "correction": f"the accounts of {counted(len(posted.accounts), 'contributor')}{of_pool} corrected",
        "decision": f"money{of_pool} moved by the decision of a case",
        "release": f"{moved} released to {', '.join(map(shown, posted.paid))}",
    }[posted.kind]


def _fate(posted: Posted, statements: Sequence[Posted], mark: str = "") -> str:
    """What corrected or replaced a statement, and when; empty if it is in force."""
    later = next(_later(posted, statements), None)
    if later is None:
        return ""
    verb = "corrected" if later.kind == "correction" else "reversed and replaced"
    return f"{verb} on {later.created_at[:10]} by statement {mark}{later.id}{mark}"

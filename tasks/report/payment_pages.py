"""What was paid by the credit of a run, on its pages: when they are written, and again after every later posting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import reduce
from itertools import chain
from pathlib import Path

import pandas as pd
from prefect.cache_policies import NO_CACHE
from pydantic import ValidationError

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.cells import csv_bytes
from royalty.infra.pages.combined import REPORT as REPORT_PAGE
from royalty.infra.pages.combined import combined
from royalty.infra.pages.contributors import ContributorPage, HistoryRow
from royalty.infra.pages.language import Language
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import StoreError, partial_folder, write_changed
from royalty.infra.workspace import Workspace, open_workspace
from royalty.tasks.credit.estimate import CREDIT, load_table
from royalty.tasks.judge.gallery_stage import GALLERY_PAGE
from royalty.tasks.pay.stages import PAY, Paid
from royalty.tasks.report.contents import Contents
from royalty.tasks.report.gallery import KeptGallery
from royalty.tasks.report.moved import Step, steps_of
from royalty.tasks.report.payments import payment_rows, pool_of
from royalty.tasks.report.rows import readable
from royalty.tasks.report.stages import REPORT, TRACK, Reported
from royalty.tasks.report.uses import Uses, credit_behind, uses_of
from royalty.tasks.stages.task import task

PAYOUT = "payout.csv"


@task(name="show payments on the pages", cache_policy=NO_CACHE)
def show_on_pages(pool: str, period: str | None) -> list[str]:
    """Write the pages of every run again whose credit a pool was divided by, in its folder and in MLflow.

    The posting stands, whether or not pages can be written.

    Returns:
        A remark for each run whose pages could not be written.
    """
    space = open_workspace(settings())
    statements = space.ledger.verified_statements()
    uses, pool_now = uses_of(space, statements), (pool, period or "")
    tables = {credit_behind(posted, uses) for posted in statements if (posted.pool, posted.period) == pool_now}
    remarks = []
    for name, reported in latest_reports(space).items():
        division = PAY.kept(space, reported.inputs.stages[PAY.name])
        if division is None or division.inputs.table not in tables:
            continue
        try:
            write_again(space, name, reported, division, statements)
        except (OSError, StoreError, ValidationError) as error:
            remarks.append(
                f"the pages of the run {name!r} do not show this payment yet: {error}. `royalty run` writes them again"
            )
    return remarks


def with_payments(space: Workspace, contents: Contents, division: Paid, statements: Sequence[Posted]) -> Contents:
    """Add to the content of a run's pages what was paid by its credit, alone or beside use, and the history of every
    contributor.

    Args:
        division: the division that the report shows.
        statements: all statements of the ledger, in the order of posting.
    """
    table = division.inputs.table
    holds, uses = statement_of(statements, division), uses_of(space, statements)
    names = {row.name for row in contents.report.rows}
    moved = [_named(posted) for posted in statements]
    credits = {
        posted.valuation: _credits(space, posted.valuation, uses)
        for posted, named in zip(statements, moved, strict=True)
        if named & names or posted.pool == division.inputs.pool
    }
    steps = steps_of(space, division.inputs.pool, statements)
    history = _histories(statements, moved, credits, uses, steps, contents.language)
    report = replace(
        contents.report,
        statement=holds.id if holds else None,
        pool_name=pool_of(holds) if holds else contents.report.pool_name,
        payments=tuple(payment_rows(statements, table, uses)),
    )
    other = [
        posted
        for posted in statements
        if credit_behind(posted, uses) == table and posted.active and posted is not holds
    ]

    def completed(page: ContributorPage) -> ContributorPage:
        return replace(
            page,
            proposed=holds is None and page.refusal is None,
            received=_received(page.row.name, other, contents.language),
            history=tuple(history(page.row.name)),
        )

    return replace(contents, report=report, completed=completed)


def payout_table(division: Paid, statements: Sequence[Posted]) -> bytes:
    """The division as CSV. Every row says whether it is proposed, posted or refused, and by which statement."""
    outputs, holds = division.outputs, statement_of(statements, division)
    state = "refused" if outputs.refusal else "proposed" if holds is None else "posted"
    rows = pd.DataFrame([*outputs.rows, *outputs.departed])
    return csv_bytes(rows.assign(state=state, statement=holds.id if holds else ""))


def statement_of(statements: Sequence[Posted], division: Paid) -> Posted | None:
    """The last statement in force that posted a division: the same credit, pool and amounts, in whichever period."""
    amounts = {name: row.amount for name, row in division.outputs.settlements.items()}
    found = [
        posted
        for posted in statements
        if posted.kind == "division"
        and posted.active
        and (posted.valuation, posted.pool) == (division.inputs.table, division.inputs.pool)
        and posted.currency == division.inputs.config["currency"]
        and posted.paid == amounts
    ]
    return found[-1] if found else None


def latest_reports(space: Workspace) -> dict[str, Reported]:
    """The last report of each run, by name; those of earlier versions, which cannot be written again, are left out."""
    finished = (readable(REPORT, row) for row in space.runs.stages(REPORT.name))
    return {reported.inputs.name: reported for reported in finished if reported and reported.outputs.contents}


def beside(gallery: KeptGallery | None) -> dict[str, str]:
    """The page of a gallery, to which the report links; nothing if there is none."""
    return {GALLERY_PAGE: gallery.page} if gallery else {}


def write_again(space: Workspace, name: str, reported: Reported, division: Paid, statements: Sequence[Posted]) -> None:
    """Write the pages of a run with what was paid and made since, in its folder and in MLflow.

    Args:
        division: the division that the report shows.
        statements: all statements of the ledger.

    Raises:
        StoreError, OSError, ValidationError: a part of them is missing or of an earlier version, or MLflow refused.
    """
    contents = Contents.open(space.artifacts.verified(reported.outputs.contents))
    gallery = KeptGallery.of_credit(space, reported.inputs.stages[CREDIT.name])
    contents = with_payments(space, contents, division, statements)
    pages = (gallery.shown_in(contents) if gallery else contents).render()
    table = payout_table(division, statements)
    folder = space.root / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    with partial_folder(folder) as made:
        files = {
            file: _as_given(folder / file, made / file, text.encode())
            for file, text in chain(pages, beside(gallery).items())
        }
        payout = _as_given(folder / PAYOUT, made / PAYOUT, table)
        changed = {folder / file: path for file, path in {**files, PAYOUT: payout}.items() if path != folder / file}
        if not changed:
            return  # so MLflow has them too, which takes them first
        if (track := TRACK.kept(space, reported.inputs.stages[TRACK.name])) is not None:
            together = combined((file, path.read_bytes().decode()) for file, path in files.items())
            _log_again(track.outputs.run, {PAYOUT: table, REPORT_PAGE: map(str.encode, together)})
        write_changed((file, path.read_bytes()) for file, path in changed.items())


def _as_given(file: Path, new: Path, payload: bytes) -> Path:
    """The file, if it has this content, or else a new one that has it."""
    if file.is_file() and file.read_bytes() == payload:
        return file
    new.parent.mkdir(exist_ok=True)
    new.write_bytes(payload)
    return new


def _log_again(run: str, files: Mapping[str, bytes | Iterable[bytes]]) -> None:
    from mlflow.exceptions import MlflowException  # takes seconds to import

    from royalty.infra.tracking.client import open_tracking

    try:
        open_tracking(settings()).files(run, files)
    except MlflowException as error:
        raise StoreError(f"MLflow did not take them ({error})") from error


def _credits(space: Workspace, table: str, uses: Uses) -> Mapping[str, float]:
    """Credit by contributor from a table, or from that beside use; empty if the table is not in this workspace."""
    if table in uses and not uses[table].credit:
        return {}
    try:
        rows = load_table(space, uses[table].credit if table in uses else table)
    except StoreError:
        return {}
    return dict(zip(rows["contributor"], rows["credit"].astype(float), strict=True))


def _named(posted: Posted) -> set[str]:
    """The contributors whose money a statement moves, holds or accounts for."""
    return {*posted.paid, *posted.held, *posted.accounts}


def _histories(
    statements: Sequence[Posted],
    moved: Sequence[Set[str]],
    credits: Mapping[str, Mapping[str, float]],
    uses: Uses,
    steps: Mapping[str, Step],
    language: Language,
) -> Callable[[str], Iterator[HistoryRow]]:
    """The history of a contributor by name, oldest first. A statement with a step is in all of them.

    Args:
        moved: the contributors that each statement names.
        steps: what moved until statements of the pool, by their id.
    """
    divided, kinds = set(), []
    for posted in statements:
        pool = posted.pool, posted.period
        kinds.append("replacement" if posted.kind == "division" and pool in divided else posted.kind)
        if posted.kind == "division":
            divided.add(pool)

    def history(name: str) -> Iterator[HistoryRow]:
        for posted, named, kind in zip(statements, moved, kinds, strict=True):
            step = steps.get(posted.id)
            if step is None and name not in named:
                continue
            known = credits[posted.valuation]
            uncredited = bool(known) and name not in known
            amounts = [*_amounts(name, posted, language), *_parts(name, posted, uses, language)]
            amount = ", ".join(amounts) or language.text("none")
            reasons = tuple(step.reasons(name, language, named=name in named)) if step else ()
            yield HistoryRow(
                pool_of(posted), posted.created_at, kind, known.get(name), amount, posted.active, reasons, uncredited
            )

    return history


def _amounts(name: str, posted: Posted, language: Language) -> Iterator[str]:
    """What a statement pays, holds and puts on the account of a contributor."""
    held, account = posted.held.get(name, 0), posted.accounts.get(name, 0)
    if name in posted.paid:
        yield language.money(posted.paid[name], posted.currency)
    if held > 0:  # below zero it is released, which the payment shows
        yield language.text("amount_held", amount=language.money(held, posted.currency))
    if account:
        signed = f"{'+' if account > 0 else ''}{language.money(account, posted.currency)}"
        yield language.text("amount_account", amount=signed)


def _parts(name: str, posted: Posted, uses: Uses, language: Language) -> Iterator[str]:
    """The parts of the pool that a division by use gives a contributor."""
    person = uses[posted.valuation].people.get(name) if posted.valuation in uses else None
    if person is not None and posted.kind == "division":
        yield language.text(
            "amount_use",
            training=language.percent(f"{person.training:.1%}"),
            use=language.percent(f"{person.use:.1%}"),
            generations=person.generations,
        )


def _received(name: str, statements: Sequence[Posted], language: Language) -> str:
    """What statements paid a contributor; empty if nothing. Amounts of several currencies are joined."""
    sums: dict[str, int] = {}
    for posted in statements:
        sums[posted.currency] = sums.get(posted.currency, 0) + posted.paid.get(name, 0)
    amounts = [language.money(amount, currency) for currency, amount in sums.items() if amount]
    return reduce(lambda first, second: language.text("and", first=first, second=second), amounts) if amounts else ""

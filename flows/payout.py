"""Pay contributors by the credit of a run; repeated calls pay once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_payout_config
from royalty.flows.languages import chosen_language
from royalty.flows.mistakes import explained
from royalty.flows.verdict import wait_for_verdict
from royalty.infra.ledger.change import PoolChange, TakesBack
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.models.payout.payees import Payee
from royalty.tasks.config.payout import ApprovalConfig, PayoutConfig
from royalty.tasks.credit.estimate import Credited, find_credit
from royalty.tasks.pay.announcing import announce_posted, announce_refused
from royalty.tasks.pay.approvals import approve_division, approve_release, deployed_flow_run
from royalty.tasks.pay.division import divide, post, release_held
from royalty.tasks.pay.holds import check_release_terms, check_released
from royalty.tasks.pay.identities import check_identities
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.pay.payment_files import ExportName, check_export, other_payments
from royalty.tasks.pay.periods import in_period, unless_paid
from royalty.tasks.pay.remarks import remarks
from royalty.tasks.pay.stages import DividedPool
from royalty.tasks.pay.statements import read_statement, terms_of_run, write_payout
from royalty.tasks.pay.usage_stages import Used
from royalty.tasks.report.payment_pages import show_on_pages
from royalty.tasks.report.payments import show_payments
from royalty.tasks.report.prefect_artifacts import show_change, show_statement


@dataclass(frozen=True)
class PayoutResult:
    """What was paid, or would be paid without the dry run.

    Attributes:
        run: the run that the credit comes from.
        statement: ID of the ledger statement; None if nothing was posted.
        change: what posting the division changes, or changed; None for a release.
        rows: the credit table with shares and amounts as records, highest credit first; for a release, the contributors
            and amounts paid.
        departed: contributors who are not in the credit table and get what earlier pools left, as records. `payout.csv`
            has them after `rows`.
        notes: contributors whose amount differs from what the policy alone gives, and other remarks to review.
        checks: what the payout would be if two contributors were one person, or one were two.
        files: paths of the files written.
        approval: ID under which a second person approves the payout or rejected it; None if nobody is asked, or it is
            approved.
    """

    run: str
    pool: str
    period: str | None
    currency: str
    statement: str | None
    change: PoolChange | None
    rows: list[dict[str, Any]]
    departed: list[dict[str, Any]]
    notes: list[str]
    checks: list[str]
    files: list[str]
    approval: str | None = None


@flow(name="payout", flow_run_name="payout {credit}")
@explained
def payout(
    credit: str,
    config: PayoutConfig | dict[str, Any] | str | None = None,
    *,
    release: Sequence[str] = (),
    replace: bool = False,
    dry_run: bool = False,
    export: ExportName | None = None,
    accept_uncertainty: bool = False,
) -> PayoutResult:
    """Divide a pool by the credit of a run and post the division; or release held money.

    Args:
        credit: name of a run, or the digest of its credit table.
        config: terms of the payout, as settings or the path of a file with them; the run's terms by default.
        release: contributors whose held money is paid now.
        replace: take money back from contributors, return to a credit table that the pool was divided by before, and
            replace what the pool paid on another run's credit.
        dry_run: return the division, and what posting it would change, without posting it.
        export: also write payment files, with transfers in this format; see `royalty.tasks.pay.payment_files`.
        accept_uncertainty: pay although the standard error exceeds `limits.stderr`.

    Raises:
        InputError: the credit is unknown, or does not pass the gates or the terms, or a payment file cannot be written;
            nothing is posted.
        TakesBack: the posting takes money back or returns to an earlier credit table, and `replace` is not set;
            nothing is posted.
        LedgerConflict: the posting contradicts what the ledger holds.
    """
    check_home(settings())
    run, credited = find_credit(credit)
    source, run_terms = terms_of_run(run)
    terms = in_period(
        (run_terms if config is None else as_payout_config(config)).accepting_uncertainty(accept_uncertainty)
    )
    pool = terms.name or run
    payees = load_payees(terms, source)
    check_export(export, terms, payees, release)
    if release:
        check_released(terms, payees, release)
        check_release_terms(pool, terms)
        approved = approve_release(
            run, pool, terms, payees, release, export, run_terms.approval, language=chosen_language()
        )
        if approved.unposted:
            return PayoutResult(
                run, pool, terms.period, terms.currency, None, None, [], [], [approved.unposted], [], [], approved.id
            )
        statement = release_held(pool, terms, release, payees=payees, approved=approved.act)
        unshown = shown(pool, terms.period)
        posted = read_statement(statement)
        announce_posted(posted, terms)
        paid = [
            {"contributor": name, "amount": f"{terms.major_units(amount):f}"} for name, amount in posted.paid.items()
        ]
        files, notes = write_payout(posted, paid, terms, payees, export)
        notes += unshown
        show_statement(run, statement, files)
        return PayoutResult(run, pool, terms.period, terms.currency, statement, None, paid, [], notes, [], files)
    division = settle(
        credited,
        terms,
        pool,
        payees=payees,
        source=run,
        posting=not dry_run,
        replace=replace,
        export=export,
        agreed=run_terms.approval,
        suspends=True,
    )
    result = paid_out(division, terms, run, pool, payees=payees, export=export, dry_run=dry_run)
    return dataclasses.replace(result, checks=check_identities(run, credited, terms))


def paid_out(
    division: DividedPool,
    terms: PayoutConfig,
    run: str,
    pool: str,
    *,
    payees: Mapping[str, Payee] | None,
    export: ExportName | None,
    dry_run: bool,
) -> PayoutResult:
    """The result of a division that was settled; its files are written if it is posted.

    Raises:
        InputError: the division was refused.
        TakesBack: it was, and takes money back.
    """
    if division.outputs.refusal:
        reason = f"nothing was paid from the pool {pool!r}: {division.outputs.refusal}"
        raise TakesBack(reason) if division.change and division.change.needs_agreement else InputError(reason)
    rows, files = division.outputs.rows, list[str]()
    notes = [*([division.unposted] if division.unposted else []), *remarks(division, terms), *division.remarks]
    if dry_run and division.change is not None:
        gets = {row.contributor: row.gets for row in division.change.people}
        notes += other_payments(gets, terms, payees, export)
    if division.statement is not None and not dry_run:  # also if it was posted before: the files may be gone
        written = [*rows, *division.outputs.departed]
        files, unbanked = write_payout(read_statement(division.statement), written, terms, payees, export)
        notes += unbanked
        show_statement(run, division.statement, files)
    return PayoutResult(
        run=run,
        pool=pool,
        period=terms.period,
        currency=terms.currency,
        statement=division.statement,
        change=division.change,
        rows=rows,
        departed=division.outputs.departed,
        notes=notes,
        checks=[],
        files=files,
        approval=division.approval,
    )


def settle(
    credit: Credited | Used,
    terms: PayoutConfig,
    pool: str,
    *,
    payees: Mapping[str, Payee] | None,
    source: str,
    posting: bool,
    replace: bool = False,
    export: ExportName | None = None,
    agreed: ApprovalConfig | None = None,
    suspends: bool = False,
    call: Mapping[str, Any] | None = None,
) -> DividedPool:
    """Divide a pool, show what posting the division changes, and then post it, or only propose it.

    A period that follows from a date is paid once: if it was paid by other credit, nothing is posted without `replace`.

    Args:
        terms: with their period.
        posting: post the division; otherwise it is a proposal.
        export: format of payment files that are written once a second person has approved the payout.
        agreed: rules of approval of the run, which other terms may only replace with an approval.
        suspends: the flow run of a deployment waits for a second person; other calls return a proposal.
        call: arguments of the flow that posts it once a second person has approved it, besides terms and options; by
            default those of `payout`.
    """
    division = divide(credit, terms, pool, payees=payees, source=source)
    if division.change is None:
        announce_refused(division, terms)
        return division
    if posting and not replace:
        division = unless_paid(division, terms)
    posting = posting and not division.unposted
    show_change(source, division, posting=posting)
    if not posting:
        return division
    options = {"config": terms.model_dump(mode="json"), "replace": replace, "export": export}
    call, language = {**options, **({"credit": source} if call is None else call)}, chosen_language()
    approved = approve_division(pool, terms, payees, division, call, agreed, language=language)
    if approved.waiting and suspends and deployed_flow_run() is not None:
        wait_for_verdict(approved)
        approved = approve_division(pool, terms, payees, division, call, agreed, language=language)
    if approved.unposted:
        return dataclasses.replace(division, unposted=approved.unposted, approval=approved.id)
    posted = post(division, terms, payees=payees, replace_paid=replace, approved=approved.act)
    if posted.statement is None:
        announce_refused(posted, terms)
        return posted
    if division.statement is None:  # it was not posted before
        announce_posted(read_statement(posted.statement), terms)
    unshown = shown(pool, terms.period)
    return dataclasses.replace(posted, remarks=[*posted.remarks, *unshown])


def shown(pool: str, period: str | None) -> list[str]:
    """Show what a pool was paid on the MLflow runs and the pages of its credit; returns what could not be shown."""
    return [*show_payments(pool, period), *show_on_pages(pool, period)]

"""Cases and opt-outs: open, add to, decide; withdraw works. What moves money or training is recorded first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from royalty.flows.languages import chosen_language
from royalty.flows.mistakes import explained
from royalty.infra.audit.receipts import Receipts
from royalty.infra.ledger.cases import Case, Outcome
from royalty.infra.ledger.decisions import decide
from royalty.infra.ledger.optouts import OptOut
from royalty.infra.settings import settings
from royalty.infra.tracking.events import emit
from royalty.infra.workspace import check_home, notary, open_workspace
from royalty.models.data.names import person_name
from royalty.models.payout.approval import same_person
from royalty.tasks.attribution.withdrawing import remove_withdrawn
from royalty.tasks.pay.acting import acting
from royalty.tasks.pay.cases import (
    check_release,
    checked_contributors,
    checked_deadline,
    currency_of,
    parse_award,
    sign_decision,
    store_evidence,
    write_case,
    write_decision,
)
from royalty.tasks.pay.optouts import withdraw as withdraw_works
from royalty.tasks.pay.payment_files import ExportName
from royalty.tasks.report.payments import show_payments


@dataclass(frozen=True)
class DecidedCase:
    """A decided case.

    Attributes:
        notes: money that stays held for other reasons, and other remarks to review.
        files: paths of the files written.
    """

    case: Case
    notes: list[str]
    files: list[str]


@flow(name="open case", flow_run_name="open case of {claimant}")
@explained
def open_case(
    claimant: str,
    contributors: Sequence[str],
    reason: str,
    works: Sequence[str] = (),
    deadline: str = "",
    evidence: Sequence[Path] = (),
    by: str | None = None,
) -> Case:
    """Open a case. Divisions hold the money of its contributors until it is decided.

    Args:
        claimant: who raises it.
        contributors: those whose money is held.
        works: file names or IDs of the works in dispute; none for all works of these contributors.
        deadline: date until which it is to be decided, YYYY-MM-DD.
        evidence: files, which are stored.
        by: who opens it; by default `ROYALTY_ACTOR`.

    Raises:
        InputError: a contributor is unknown, or the deadline or a file cannot be used.
    """
    check_home(settings())
    space, language = open_workspace(settings()), chosen_language()
    opened = space.cases.open(
        acting(by),
        claimant=person_name("--claimant", claimant),
        contributors=checked_contributors(space, contributors),
        reason=reason,
        works=works,
        deadline=checked_deadline(deadline),
        evidence=store_evidence(space, evidence),
    )
    write_case(space, opened, language)
    facts = {"contributors": len(opened.contributors), "works": len(opened.works), "deadline": opened.deadline}
    emit("royalty.case.opened", f"royalty.case.{opened.id}", f"case {opened.id}", facts)
    return opened


@flow(name="add to case", flow_run_name="add to case {case}")
@explained
def add_message(case: str, text: str, evidence: Sequence[Path] = (), by: str | None = None) -> Case:
    """Add a message and files to an open case.

    Raises:
        LedgerConflict: there is no such case, or it is decided.
        InputError: a file cannot be used.
    """
    check_home(settings())
    space, language = open_workspace(settings()), chosen_language()
    files = store_evidence(space, evidence)
    told = space.cases.add_message(case, acting(by), text, files)
    write_case(space, told, language)
    return told


@flow(name="decide case", flow_run_name="decide case {case}")
@explained
def decide_case(
    case: str,
    outcome: Outcome,
    reason: str,
    awards: Sequence[str] = (),
    currency: str | None = None,
    evidence: Sequence[Path] = (),
    export: ExportName | None = None,
    by: str | None = None,
) -> DecidedCase:
    """Decide a case: release what it holds to its contributors, or return it to the pools; and award amounts to others.

    Args:
        awards: amounts that go from a contributor of the case to somebody else, written `TAKER=AMOUNT` or
            `GIVER:TAKER=AMOUNT`.
        currency: of the awards; by default that of the money that the case holds.
        export: also write payment files for what is released, with transfers in this format.

    Raises:
        LedgerConflict: there is no such case, or it is decided; or an award cannot be paid.
        InputError: an award or a file cannot be used, or a payment file cannot be written.
        LedgerBroken: the ledger does not verify.
    """
    check_home(settings())
    space, language = open_workspace(settings()), chosen_language()
    known = space.cases.case(case)
    check_release(space, known, outcome, export)
    unit = currency or (currency_of(space, known) if awards else "")
    amounts = [parse_award(text, known, unit) for text in awards]
    files = store_evidence(space, evidence)
    Receipts(notary(settings())).prepare()  # before anything is decided: a missing key is an error
    decided = decide(
        space.ledger,
        known.id,
        acting(by),
        outcome=outcome,
        reason=reason,
        awards=amounts,
        evidence=files,
        same=same_person,
    )
    notes, page = list(decided.kept), write_case(space, decided.case, language)
    written = [str(page), str(sign_decision(space, decided.case))]
    for identity in decided.statements:
        posted = space.ledger.statement(identity)
        paths, remarks = write_decision(posted, export)
        written += paths
        notes += remarks + show_payments.fn(posted.pool, posted.period or None)
    facts = {"outcome": outcome, "statements": len(decided.statements), "awards": len(amounts)}
    emit("royalty.case.decided", f"royalty.case.{known.id}", f"case {known.id}", facts)
    return DecidedCase(decided.case, notes, written)


@flow(name="opt out", flow_run_name="opt out {contributor}")
@explained
def withdraw(
    contributor: str, works: Sequence[str] = (), reason: str = "", evidence: Sequence[Path] = (), by: str | None = None
) -> tuple[OptOut, Path, list[str]]:
    """Record that a contributor withdraws works; runs, revaluations and indexes leave them out from now on.

    Args:
        works: file names as the image source lists them; none for all of the contributor.

    Returns:
        The opt-out, the file of its receipt, and a sentence for each index that the works were removed from.

    Raises:
        InputError: the contributor is unknown, or a file cannot be used.
        StoreError: an index cannot be changed now; the opt-out is recorded, and the message says how to go on.
    """
    check_home(settings())
    space = open_workspace(settings())
    (name,) = checked_contributors(space, [contributor])
    optout, path = withdraw_works(space, acting(by), name, works, reason, store_evidence(space, evidence))
    facts = {"works": len(optout.works) or "all"}
    emit("royalty.optout.recorded", f"royalty.optout.{optout.id}", f"opt-out {optout.id}", facts)
    return optout, path, remove_withdrawn(space)

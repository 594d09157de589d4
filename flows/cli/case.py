"""The commands `royalty case` and `royalty optout`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.flows.cli.command import AsJson

if TYPE_CHECKING:
    from royalty.infra.ledger.cases import Case
    from royalty.infra.ledger.optouts import OptOut

case_app = typer.Typer(
    no_args_is_help=True, help="Disputes: open a case, add to it, decide it. It holds money until then."
)
optout_app = typer.Typer(no_args_is_help=True, help="Works that contributors withdraw from training, with receipts.")

CaseId = Annotated[str, typer.Argument(metavar="ID", help="ID of the case, or at least its first 6 characters.")]
By = Annotated[str | None, typer.Option(help="Who does it; ROYALTY_ACTOR by default, or else the user.")]
Files = Annotated[list[Path] | None, typer.Option("--evidence", help="File to keep as evidence; may be repeated.")]
Works = Annotated[
    list[str] | None, typer.Option("--work", help="File name of a work; may be repeated. All works by default.")
]


@case_app.command("open")
def open_(
    claimant: Annotated[str, typer.Option(help="Who raises the dispute.")],
    contributor: Annotated[list[str], typer.Option(help="Contributor whose money is held; may be repeated.")],
    reason: Annotated[str, typer.Option(help="What the dispute is about.")],
    work: Works = None,
    deadline: Annotated[str, typer.Option(help="Date until which it is to be decided, YYYY-MM-DD.")] = "",
    evidence: Files = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Open a case: payouts hold the money of its contributors until it is decided."""
    flows = _flows()
    _print_case(flows.open_case.fn(claimant, contributor, reason, work or (), deadline, evidence or (), by), as_json)


@case_app.command()
def message(
    case: CaseId,
    text: Annotated[str, typer.Argument(help="The message.")],
    evidence: Files = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Add a message, and files, to an open case."""
    _print_case(_flows().add_message.fn(case, text, evidence or (), by), as_json)


@case_app.command()
def decide(
    case: CaseId,
    reason: Annotated[str, typer.Option(help="Why it is decided so.")],
    release: Annotated[bool, typer.Option("--release", help="Pay what the case holds to its contributors.")] = False,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Return what the case holds to the pools' reserve.")
    ] = False,
    award: Annotated[
        list[str] | None,
        typer.Option(help="TAKER=AMOUNT, or GIVER:TAKER=AMOUNT, paid first; may be repeated."),
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of the awards, for example EUR.")] = None,
    evidence: Files = None,
    export: Annotated[
        str | None, typer.Option(help="Also write a SEPA payment file in this format: pain001 or pain001.03.")
    ] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Decide a case: release or reverse what it holds, and award amounts to others. A decision stands."""
    from royalty.flows.configuration import ConfigError

    if release == reverse:
        raise ConfigError("a decision releases or reverses what a case holds; give one of `--release` and `--reverse`")
    if export not in (None, "pain001", "pain001.03"):
        raise ConfigError(f"`--export` must be `pain001` or `pain001.03`, got {export!r}")
    outcome: Any = "release" if release else "reverse"
    format_: Any = export  # checked above
    decided = _flows().decide_case.fn(case, outcome, reason, award or (), currency, evidence or (), format_, by)
    _print_case(decided.case, as_json)
    if not as_json:
        from royalty.infra.pages.terminal import console

        for note in decided.notes:
            console.print(note, markup=False)
        for file in decided.files:
            console.print(f"File        {file}", soft_wrap=True, markup=False)


@case_app.command("list")
def list_(
    open_only: Annotated[bool, typer.Option("--open", help="Only cases that are not decided.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the cases, with their states and deadlines."""
    from royalty.infra.pages.terminal import console, print_table
    from royalty.tasks.pay.cases import today

    cases = [case for case in _space().cases.all() if case.is_open or not open_only]
    if as_json:
        sys.stdout.write(json.dumps([_document(case) for case in cases]) + "\n")
        return
    if not cases:
        console.print("There are no cases.")
        return
    cells = [
        (
            case.id,
            case.state(today()),
            case.deadline or "none",
            ", ".join(case.contributors),
            case.claimant,
            case.reason,
        )
        for case in cases
    ]
    print_table(("Case", "State", "Decide by", "Money of", "Raised by", "Reason"), cells, whole=range(3))


@case_app.command()
def show(
    case: CaseId,
    html: Annotated[Path | None, typer.Option(help="Also write the case to this file as an HTML page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a case: its money, what was said, and the decision."""
    from royalty.flows.languages import chosen_language
    from royalty.infra.stores.artifacts import write_whole
    from royalty.tasks.pay.cases import write_case

    space = _space()
    shown = space.cases.case(case)
    page = write_case(space, shown, chosen_language())
    if html is not None:
        write_whole(html, page.read_bytes())
    _print_case(shown, as_json)


@optout_app.command()
def add(
    contributor: Annotated[str, typer.Option(help="Who withdraws works.")],
    reason: Annotated[str, typer.Option(help="Why, in words.")],
    work: Works = None,
    evidence: Files = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Record an opt-out and write its receipt; whatever reads training images leaves the works out from now on."""
    from royalty.infra.pages.terminal import console, print_notes

    optout, receipt, changes = _flows().withdraw.fn(contributor, work or (), reason, evidence or (), by)
    if as_json:
        sys.stdout.write(receipt.read_text(encoding="utf-8"))
        return
    console.print(f"Opt-out     {optout.id}, {len(optout.works) or 'all'} works of {contributor}", markup=False)
    console.print(f"Receipt     {receipt}", soft_wrap=True, markup=False)
    print_notes(changes)
    console.print("`royalty revalue` credits everybody without these works.")


@optout_app.command("list")
def list_optouts(as_json: AsJson = False) -> None:
    """List what was withdrawn."""
    from royalty.infra.ledger.optouts import optouts
    from royalty.infra.pages.terminal import console, print_table

    known = optouts(_space().acts)
    if as_json:
        sys.stdout.write(json.dumps([asdict(optout) for optout in known]) + "\n")
        return
    if not known:
        console.print("There are no opt-outs.")
        return
    cells = [_optout_cells(optout) for optout in known]
    print_table(("Opt-out", "Recorded", "Contributor", "Works", "Reason"), cells, whole=range(2))


@optout_app.command()
def check(receipt: Annotated[Path, typer.Argument(help="A receipt, as `royalty optout add` wrote it.")]) -> None:
    """Compare a receipt with the records of this home; exit with 1 if it does not match."""
    from royalty.infra.pages.terminal import console
    from royalty.tasks.pay.optouts import check_receipt

    check_receipt(_space(), receipt)
    console.print("The receipt matches the records.")


def _optout_cells(optout: OptOut) -> tuple[str, ...]:
    works = ", ".join(optout.works) or "all"
    return optout.id, optout.act.created_at[:10], optout.contributor, works, optout.reason


def _flows() -> Any:
    """The flows of cases. They are called as functions, because they record everything themselves: no server starts."""
    from royalty.infra.servers.session import configured

    configured()
    from royalty.flows import case

    return case


def _space() -> Any:
    from royalty.infra.settings import settings
    from royalty.infra.workspace import open_workspace

    return open_workspace(settings())


def _document(case: Case) -> dict[str, Any]:
    from royalty.tasks.pay.cases import today

    return {**asdict(case), "state": case.state(today())}


def _print_case(case: Case, as_json: bool) -> None:
    from royalty.infra.pages.terminal import console
    from royalty.tasks.pay.cases import today

    if as_json:
        sys.stdout.write(json.dumps(_document(case)) + "\n")
        return
    facts = {
        "Case": f"{case.id}, {case.state(today())}",
        "Raised by": case.claimant,
        "Money of": ", ".join(case.contributors),
        "Works": ", ".join(case.works) or "all of these contributors",
        "Reason": case.reason,
        "Decide by": case.deadline or "no deadline",
    }
    for title, text in facts.items():
        console.print(f"{title:<11} {text}", markup=False)
    for act in case.acts[1:]:
        text = act.body["text"] if act.kind == "message" else f"{act.body['outcome']}: {act.body['reason']}"
        console.print(f"{act.created_at[:10]}  {act.actor}: {text}", markup=False)
    for file in case.evidence:
        console.print(f"Evidence    {file.name}, SHA-256 {file.digest}", soft_wrap=True, markup=False)

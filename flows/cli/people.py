"""The commands `royalty balance`, `royalty statement` and `royalty tax`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from royalty.flows.cli.command import AsJson

Year = Annotated[int, typer.Option(help="Calendar year (UTC).")]
Payees = Annotated[
    Path | None, typer.Option(help="CSV file with the payees; by default that of the run that was paid last.")
]


def balance(
    contributor: Annotated[str | None, typer.Argument(help="A contributor; everybody by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each contributor has earned, been paid, and is still due, in every currency."""
    from royalty.infra.ledger.balances import accounts_of
    from royalty.infra.ledger.money import formatted
    from royalty.infra.pages.terminal import console, print_table

    balances = accounts_of(_space().ledger, contributor).balances()
    if as_json:
        rows = [{"contributor": name, "currency": unit, **asdict(own)} for (name, unit), own in balances.items()]
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    if not balances:
        console.print("No statement of the ledger names anybody, or this contributor.")
        return
    parts = ["earned", "paid", "withheld", "held", "unclaimed", "carried", "owed"]
    shown = [part for part in parts if any(getattr(own, part) for own in balances.values())]
    cells = [
        [name, *(formatted(getattr(own, part), unit) if getattr(own, part) else "" for part in shown)]
        for (name, unit), own in balances.items()
    ]
    print_table(["Contributor", *(part.capitalize() for part in shown)], cells, whole=range(1, len(shown) + 1))


def statement(
    contributor: Annotated[str, typer.Argument(help="A contributor.")],
    year: Year,
    payees: Payees = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="A language that is shipped (de, en), or a YAML file with the translated texts. "
            "Default: that of ROYALTY_LANGUAGE."
        ),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also print it to PDF with Chromium.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the annual statement of a contributor: a page to print, plain text, and a message with both."""
    from royalty.flows.languages import chosen_language
    from royalty.infra.pages.terminal import console
    from royalty.tasks.pay.annual import annual_statement, write_annual

    translated = chosen_language(language)
    space = _space()
    known, payer = _payees(space, payees)
    annual = annual_statement(space, contributor, year, known, payer, translated)
    files = write_annual(space, annual, translated, pdf=pdf)
    if as_json:
        sys.stdout.write(json.dumps({**asdict(annual), "files": list(map(str, files))}, default=str) + "\n")
        return
    for file in files:
        console.print(f"File        {file}", soft_wrap=True, markup=False)


def tax(
    form: Annotated[str, typer.Argument(help="1099-misc or dac7.")],
    year: Year,
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    payees: Payees = None,
) -> None:
    """Write totals of a year for a tax authority as CSV. No tax advice: check them before you file anything."""
    from royalty.flows.configuration import ConfigError
    from royalty.infra.pages.terminal import console, print_notes
    from royalty.infra.stores.artifacts import write_whole
    from royalty.tasks.pay.annual import FORMS

    if form not in FORMS:
        raise ConfigError(f"a form is one of {', '.join(FORMS)}, got {form!r}")
    space = _space()
    payload, notes = FORMS[form](space, year, _payees(space, payees)[0])
    write_whole(out, payload)
    rows = payload.count(b"\n") - 1
    console.print(f"File        {out}, {rows} rows", soft_wrap=True, markup=False)
    print_notes(notes)


def _payees(space: Any, file: Path | None) -> tuple[Mapping[str, Any] | None, str]:
    """Payees of a file, or those of the run that was paid last, and the name of the payer."""
    from royalty.models.payout.payees import read_payees
    from royalty.tasks.pay.payees import load_payees
    from royalty.tasks.pay.statements import terms_of_run

    sources = [posted.source for posted in space.ledger.statements() if posted.source]
    source, terms = terms_of_run.fn(sources[-1]) if sources else (None, None)
    payer = terms.debtor.name if terms is not None and terms.debtor is not None else ""
    if file is not None:
        return read_payees(file), payer
    return (load_payees(terms, source) if terms is not None and source is not None else None), payer


def _space() -> Any:
    from royalty.infra.settings import settings
    from royalty.infra.workspace import open_workspace

    return open_workspace(settings())

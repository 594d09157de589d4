"""The commands `royalty payout` and `royalty ledger`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.flows.cli.command import AsJson, working

if TYPE_CHECKING:
    from royalty.flows.payout import PayoutResult


def payout(
    credit: Annotated[str, typer.Option(help="Name of a run, or the digest of its credit table.")],
    pool: Annotated[str | None, typer.Option(help="What is divided, as 1000.00; that of the run unless given.")] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217 code, as EUR.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Terms: a YAML file, in place of those of the run.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the pool; that of the run unless given.")] = None,
    period: Annotated[str | None, typer.Option(help="That the pool is for, as 2026-05: it is paid once.")] = None,
    release: Annotated[list[str] | None, typer.Option(help="Pay what the pool holds for a contributor.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take back what the pool paid by another run's credit.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the division, and post nothing.")] = False,
    export: Annotated[str | None, typer.Option(help="A payment file besides: pain001, or pain001.03.")] = None,
    debtor_name: Annotated[str | None, typer.Option(help="Who pays, in the payment file.")] = None,
    debtor_iban: Annotated[str | None, typer.Option(help="The account it is paid from.")] = None,
    debtor_bic: Annotated[str | None, typer.Option(help="Of the bank of that account.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pay the contributors of a run from a pool; doing it again pays nothing more."""
    from royalty.flows.cli.configuration import ConfigError, load_payout_config
    from royalty.infra.settings import settings
    from royalty.infra.workspace import open_workspace

    if export not in (None, "pain001", "pain001.03"):
        raise ConfigError(f"a payment file is `pain001` or `pain001.03`, got {export!r}")
    if release and dry_run:
        raise ConfigError("`--release` pays what is held, and `--dry-run` posts nothing; give one of them")
    space = open_workspace(settings())
    found = space.ledger.credit_of(credit)
    own = (space.runs.config(found[0]) or {}).get("payout", {}) if found else {}
    debtor = {"name": debtor_name, "iban": debtor_iban, "bic": debtor_bic}
    given = {"pool": pool, "currency": currency, "name": name, "period": period}
    configuration = load_payout_config(policy, own, given, debtor)
    with working(found[0] if found else credit, flow="royalty.flows.payout", works=(), show_progress=not as_json):
        from royalty.flows.payout import payout

        chosen: Any = export  # checked above
        result = payout(credit, configuration, release=release or (), replace=replace, dry_run=dry_run, export=chosen)
    _print_payout(result, as_json)


def ledger(as_json: AsJson = False) -> None:
    """List the statements of the ledger, hashing all of it again; exits 1 if anything in it was changed."""
    from royalty.infra.ledger.money import formatted
    from royalty.infra.pages.terminal import console, print_table
    from royalty.infra.settings import settings
    from royalty.infra.workspace import open_workspace

    book = open_workspace(settings()).ledger
    statements, verified = book.statements(), book.verify()
    if as_json:
        shown = {"statements": [asdict(one) for one in statements], "verified": asdict(verified)}
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        cells = [
            (
                one.id,
                one.created_at,
                " ".join(filter(None, (one.pool, one.period))),
                one.kind if one.active else f"{one.kind}, replaced",
                one.source or "",
                formatted(sum(one.paid.values()), one.currency),
            )
            for one in statements
        ]
        print_table(("Statement", "Posted", "Pool", "Kind", "Run", "Paid"), cells)
        console.print(f"Verified    {verified.statements} of {len(statements)} statements; head {verified.head}")
    if verified.broken is not None:
        sys.stderr.write(f"royalty: {verified.problem}\n")
        raise typer.Exit(1)


def _print_payout(result: PayoutResult, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_table

    cells = [
        (row["contributor"], f"{row['share']:.1%}" if "share" in row else "", row["amount"]) for row in result.rows
    ]
    print_table(("Contributor", "Share", f"Payout ({result.currency})"), cells)
    for note in [*result.notes, *result.checks]:
        console.print(note, markup=False)
    pool = " ".join(filter(None, (result.pool, result.period)))
    console.print(f"Pool        {pool}", markup=False)
    console.print(f"Statement   {result.statement or 'none: a dry run posts nothing'}")
    for file in result.files:
        console.print(f"File        {file}", soft_wrap=True, markup=False)

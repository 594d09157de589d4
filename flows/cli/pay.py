"""The commands `royalty payout` and `royalty ledger`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.flows.cli.command import AcceptUncertainty, AsJson, working
from royalty.infra.wording import visible

if TYPE_CHECKING:
    from royalty.flows.payout import PayoutResult
    from royalty.infra.ledger.ledger import Ledger
    from royalty.infra.ledger.postings import Posted


def payout(
    credit: Annotated[str | None, typer.Option(help="Name of a run, or the digest of its credit table.")] = None,
    usage: Annotated[
        str | None,
        typer.Option(help="Divide by use, too: `log`, of `royalty serve`, or a CSV or Parquet file of generations."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="With `--usage`: the model that generated.")] = None,
    version: Annotated[str, typer.Option(help="With `--usage`: version of the model.")] = "1",
    pool: Annotated[
        str | None, typer.Option(help="Amount to divide, for example 1000.00; the run's pool by default.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217 currency code, for example EUR.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="YAML file with the terms of the payout; the run's terms by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the pool; by default that of the terms, or else the run's name.")
    ] = None,
    period: Annotated[
        str | None, typer.Option(help="Period of the pool, for example 2026-05; a pool is paid once per period.")
    ] = None,
    release: Annotated[
        list[str] | None, typer.Option(help="Contributor whose held money is paid now; may be repeated.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Agree to take money back, and to replace what another run's credit was paid."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the division without posting it.")] = False,
    export: Annotated[
        str | None, typer.Option(help="Also write a SEPA payment file in this format: pain001 or pain001.03.")
    ] = None,
    execution_date: Annotated[
        str | None,
        typer.Option(help="Date on which the bank pays, YYYY-MM-DD; by default the next TARGET business day."),
    ] = None,
    debtor_name: Annotated[str | None, typer.Option(help="Name of the payer in the payment file.")] = None,
    debtor_iban: Annotated[str | None, typer.Option(help="IBAN of the payer's account.")] = None,
    debtor_bic: Annotated[str | None, typer.Option(help="BIC of the payer's bank.")] = None,
    accept_uncertainty: AcceptUncertainty = False,
    as_json: AsJson = False,
) -> None:
    """Pay the contributors of a run from a pool. Repeating the command pays nothing more."""
    from royalty.flows.configuration import ConfigError, load_payout_config
    from royalty.infra.ledger.change import TakesBack
    from royalty.infra.settings import settings
    from royalty.infra.workspace import open_workspace

    if export not in (None, "pain001", "pain001.03"):
        raise ConfigError(f"`--export` must be `pain001` or `pain001.03`, got {export!r}")
    if execution_date is not None and export is None:
        raise ConfigError(
            f"`--execution-date` is for a payment file, got {execution_date!r} without one; add `--export pain001`"
        )
    if (credit is None and usage is None) or (usage is None) != (model is None):
        raise ConfigError(
            "a pool is divided by the credit of a run (`--credit`), by the use of a model (`--usage` and `--model`), "
            "or by both; give one of them"
        )
    if usage is not None and release:
        raise ConfigError("`--release` pays held money of a pool, and `--usage` divides one; use only one of them")
    if release and dry_run:
        raise ConfigError("`--release` pays held money, and `--dry-run` posts nothing; use only one of them")
    space = open_workspace(settings())
    match = None if credit is None else space.ledger.credit_of(credit)
    run = match[0] if match else None
    run_terms = (space.runs.config(run) or {}).get("payout", {}) if run is not None else {}
    debtor = {"name": debtor_name, "iban": debtor_iban, "bic": debtor_bic}
    overrides = {"pool": pool, "currency": currency, "name": name, "period": period, "execution_date": execution_date}
    configuration = load_payout_config(policy, run_terms, overrides, debtor)
    known, module = credit if run is None else run, "payout" if usage is None else "use"
    with working(known, flow=f"royalty.flows.{module}", works=(), show_progress=not as_json, configs=[configuration]):
        format_: Any = export  # checked above
        options: Any = {"dry_run": dry_run, "export": format_, "accept_uncertainty": accept_uncertainty}
        pay: Callable[..., PayoutResult]
        if usage is not None and model is not None:
            from royalty.flows.use import payout_by_use

            pay = partial(payout_by_use, usage, model, configuration, version=version, credit=credit, **options)
        else:
            from royalty.flows.payout import payout as payout_by_credit

            pay = partial(payout_by_credit, credit or "", configuration, release=release or (), **options)
        try:
            result = pay(replace=replace)
        except TakesBack as conflict:
            if as_json or not sys.stdin.isatty():
                raise
            typer.confirm(f"{conflict}\nPost it nevertheless?", abort=True)
            result = pay(replace=True)
    print_payout(result, as_json)


def ledger(
    expect: Annotated[
        list[str] | None,
        typer.Option(help="Head that was kept elsewhere: 64 digits, or the file of a checkpoint; may be repeated."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(
            help="File of a checkpoint that was verified: of entries before it, only number and sums are verified."
        ),
    ] = None,
    statement: Annotated[
        str | None, typer.Option(help="Show the totals of this statement only; its header is verified.")
    ] = None,
    contributor: Annotated[
        str | None,
        typer.Option(help="Show the entries of this contributor only; their statements are verified."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the statements of the ledger, and verify all hashes; exit with 1 if any record was changed."""
    from royalty.infra.audit.checkpoints import Checkpoint, parse_expected, unexpected
    from royalty.infra.audit.receipts import Receipts
    from royalty.infra.ledger.copies import copy_problems
    from royalty.infra.pages.terminal import console
    from royalty.infra.settings import settings
    from royalty.infra.workspace import notary, open_workspace
    from royalty.tasks.pay.usage_log import log_problem

    heads = [parse_expected(head) for head in expect or ()]
    trusted = None if since is None else Checkpoint.read(since).as_head
    space = open_workspace(settings())
    if statement is not None or contributor is not None:
        _print_part(space.ledger, statement, contributor, as_json)
        return
    statements, verified = space.ledger.statements(), space.ledger.verify(trusted)
    problems = [verified.problem] if verified.broken is not None else []
    problems += [why for head in heads if (why := unexpected(head, statements[: verified.statements]))]
    problems += notary(settings()).problems()
    problems += copy_problems(space.root / "payouts", space.ledger, statements)
    broken = space.acts.problems()
    problems += broken or Receipts(notary(settings())).problems(space.acts.all())
    problems += [problem] if (problem := log_problem(space)) else []
    if as_json:
        document = {"statements": [asdict(statement) for statement in statements], "verified": asdict(verified)}
        document["problems"] = problems
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        _print_statements(statements)
        console.print(f"Verified    {verified.statements} of {len(statements)} statements; head {verified.head}")
    for problem in problems:
        sys.stderr.write(visible(f"royalty: {problem}\n"))
    if problems:
        raise typer.Exit(1)


def _print_part(ledger: Ledger, statement: str | None, contributor: str | None, as_json: bool) -> None:
    """Print the totals of a statement, the entries of a contributor, or both."""
    from royalty.infra.ledger.money import formatted
    from royalty.infra.pages.terminal import print_table

    summary = None if statement is None else ledger.summary(statement)
    history = [] if contributor is None else ledger.verified_history(contributor)
    if as_json:
        document = {"statement": summary and asdict(summary), "entries": [row._asdict() for row in history]}
        sys.stdout.write(json.dumps(document) + "\n")
        return
    if summary is not None:
        totals = [
            (kind, f"{count:,}", formatted(total, summary.currency)) for kind, (count, total) in summary.totals.items()
        ]
        print_table(("Kind", "Entries", "Total"), totals, whole=range(3))
    if contributor is not None:
        columns = ("Posted", "Statement", "Pool", "Kind", "Amount")
        cells = [
            (row.date, row.statement, " ".join(filter(None, (row.pool, row.period))), row.kind, money)
            for row in history
            for money in [formatted(row.amount_minor, row.currency)]
        ]
        print_table(columns, cells, whole=range(len(columns)))


def _print_statements(statements: Sequence[Posted]) -> None:
    """Print a row for each statement. In a narrow terminal words wrap, and no ID, date or amount is cut."""
    from royalty.infra.ledger.money import formatted
    from royalty.infra.pages.terminal import print_table

    amounts: dict[str, Callable[[Posted], int]] = {
        "paid": lambda row: sum(row.paid.values()),
        "held": lambda row: sum(row.held.values()),
        "on accounts": lambda row: sum(row.accounts.values()),
        "taken back": lambda row: row.reversed,
    }

    def what(row: Posted) -> Iterator[str]:
        yield " ".join(filter(None, (row.pool, row.period)))
        yield row.kind if row.active else f"{row.kind}, replaced"
        if row.source not in (None, row.pool):
            yield f"by the credit of {row.source}"

    def money(row: Posted) -> Iterator[str]:
        for title, amount in amounts.items():
            if minor := amount(row):
                yield f"{title} {formatted(minor, row.currency)}"

    cells = [(row.id, row.created_at[:10], "\n".join(what(row)), "\n".join(money(row))) for row in statements]
    print_table(("Statement", "Posted", "Pool", "Amounts"), cells, whole=(0, 1, 3), words=(2,))


def print_payout(result: PayoutResult, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.cells import rank_text
    from royalty.infra.pages.terminal import console, print_table
    from royalty.tasks.pay.headline import headline

    cells = [
        (
            row["contributor"],
            rank_text(row["rank_best"], row["rank_worst"]) if "rank_best" in row else "",
            f"{row['share']:.1%}" if "share" in row else "",
            row["amount"],
        )
        for row in result.rows
    ]
    columns = ("Contributor", "Rank", "Share", f"Payout ({result.currency})")
    print_table(columns, cells, whole=range(1, len(columns)))
    if result.rows and "rank_best" in result.rows[0]:  # not in those of a release
        console.print(str(headline(result.rows)), markup=False)
    for note in [*result.notes, *result.checks]:
        console.print(note, markup=False)
    pool = " ".join(filter(None, (result.pool, result.period)))
    console.print(f"Pool        {pool}", markup=False)
    console.print(f"Statement   {result.statement or 'none; nothing was posted'}")
    if result.approval is not None:
        console.print(f"Approval    {result.approval}", markup=False)
    for file in result.files:
        console.print(f"File        {file}", soft_wrap=True, markup=False)

"""Terminal output: progress bars, tables, findings and traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from royalty.infra.ledger.change import PoolChange
from royalty.infra.pages.change import HEADINGS, changed_rows, sentences
from royalty.infra.pages.durations import duration
from royalty.infra.pages.trace import Trace
from royalty.infra.processes.progress import Advance, Display
from royalty.infra.settings import settings
from royalty.infra.tracking.addresses import described_run
from royalty.infra.wording import counted, visible

if TYPE_CHECKING:
    from royalty.infra.doctor import Finding


class Terminal(Console):
    """A console that shows control characters of all text, cells of tables too, and never sends them."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


console = Terminal(highlight=False)

MARKS = {"verified": ("green", "✓"), "recorded": ("dim", "·"), "changed": ("red", "✗"), "missing": ("red", "✗")}
DIGITS = 64
"""Hexadecimal digits of a SHA-256; the first quarter is printed."""
STEPS_PRINTED = 6
"""Number of steps with the same title that are always printed."""


@contextmanager
def bars() -> Iterator[Display]:
    """Show a progress bar for each stage; finished bars stay."""
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as panel:

        @contextmanager
        def display(title: str, total: int) -> Iterator[Advance]:
            bar = panel.add_task(title, total=total)
            yield lambda steps: panel.update(bar, advance=steps)

        yield display


@contextmanager
def received(title: str) -> Iterator[Advance]:
    """Show a status line with the megabytes received; yields a function that takes bytes received."""
    total = 0
    with console.status(title) as status:

        def advance(count: int) -> None:
            nonlocal total
            total += count
            status.update(f"{title}, {total / 1e6:.1f} MB")

        yield advance


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Sequence[int] = (), words: Sequence[int] = ()
) -> None:
    """Print rows in the given order; the first column is left-aligned, the others right-aligned.

    Args:
        whole: columns whose cells are never wrapped, such as IDs and amounts.
        words: columns that are left-aligned, too, and whose long words are broken rather than cut.
    """
    table = Table(box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        texts = (column, *(row[index] for row in rows))
        widest = max(len(line) for text in texts for line in visible(text).split("\n"))
        table.add_column(
            column,
            justify="right" if index and index not in words else "left",
            no_wrap=index in whole,
            overflow="fold" if index in words else "ellipsis",
            min_width=widest if index in whole else None,
        )
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table, crop=False)  # a line may be longer than the terminal, but no amount is cut


def print_announcement(announcement: PoolChange | str) -> None:
    """Print what a flow announces: a sentence, or the change of a pool."""
    if isinstance(announcement, str):
        console.print(announcement, markup=False)
    else:
        print_change(announcement)


def print_change(change: PoolChange) -> None:
    """Print what a posting changes; the table only if it changes amounts of an earlier one."""
    console.print(f"Payout      {' '.join(filter(None, (change.pool, change.period)))}", markup=False)
    rows = changed_rows(change)
    if rows and change.replaces is not None:
        print_table(HEADINGS, rows)
    for sentence in sentences(change):
        console.print(sentence, markup=False)


def print_timing(rows: Sequence[tuple[str, str, str, str]], busy: float, total: float) -> None:
    """Print the time of each stage; the last line is the time without training, sampling and measuring."""
    table = Table("Stage", box=SIMPLE_HEAD)
    table.add_column("Wall", justify="right")
    table.add_column("Training, sampling, measuring", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(*row)
    table.add_section()
    table.add_row("whole job", duration(total), duration(busy), "")
    table.add_row("orchestration", duration(total - busy), "", f"{(total - busy) / total:.1%} of the job")
    console.print(table)


def print_notes(notes: Sequence[str]) -> None:
    """Print sentences that a reader must know."""
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)


def print_run(run: str) -> None:
    """Print where a run is in MLflow."""
    console.print(f"MLflow run  {described_run(settings(), run)}", soft_wrap=True)


def print_finding(finding: Finding) -> None:
    """Print a finding, with a mark for passed or failed."""
    mark = "[green]✓[/]" if finding.passes else "[red]✗[/]"
    console.print(f"{mark} [bold]{finding.line:<12}[/] {escape(finding.says)}", soft_wrap=True)


def print_trace(trace: Trace) -> None:
    """Print the steps and then the mismatches. Of many steps with one title, only the first few and any problems."""
    commits = {step.commit for step in trace.steps if step.commit}
    for title, steps in trace.groups:
        printed = [step for index, step in enumerate(steps) if index < STEPS_PRINTED or step.problem or step.asked]
        for step in printed:
            colour, mark = MARKS[step.state]
            pointer = "  [bold]← requested[/]" if step.asked else ""
            identity = step.id[:16] if len(step.id) == DIGITS else step.id
            console.print(f"[{colour}]{mark}[/] [bold]{escape(title)}[/]  {escape(identity)}  {step.state}{pointer}")
            show_commit = len(commits) > 1 or title == "Run"  # once, if all steps have the same commit
            entries = [*step.facts, ("Code", step.commit if show_commit else None), ("Prefect flow run", step.flow_run)]
            entries += [("MLflow run", step.mlflow_url or step.mlflow_run)]
            for name, value in entries:
                if value:
                    console.print(Padding(f"[dim]{escape(name)}[/]  {escape(value)}", (0, 0, 0, 4)))
            if step.problem:
                console.print(Padding(f"[bold red]{escape(step.problem)}[/]", (0, 0, 0, 4)))
        if len(steps) > len(printed):
            console.print(f"  and {len(steps) - len(printed)} more; `--json` and `--html` contain all of them")
    if trace.problems:
        mismatches = counted(len(trace.problems), "MISMATCH", "MISMATCHES")
        console.print(f"[bold white on red] {mismatches} [/] with the records:")
        for problem in trace.problems:
            console.print(f"[red]✗[/] {escape(problem)}", soft_wrap=True)
    else:
        console.print(f"Everything matches: {trace.hashed} items verified by hash or by a second record.")

"""What the terminal shows: progress bars, and the result of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from royalty.infra.pages.trace import Trace
from royalty.infra.processes.progress import Advance, Display

if TYPE_CHECKING:
    from royalty.infra.doctor import Finding

console = Console(highlight=False)

MARKS = {"verified": ("green", "✓"), "recorded": ("dim", "·"), "changed": ("red", "✗"), "missing": ("red", "✗")}
DIGITS = 64
"""Of a SHA-256, the first quarter of which is printed."""
ALIKE = 6
"""Steps of one title that are printed at least."""


@contextmanager
def bars() -> Iterator[Display]:
    """Progress bars, one a stage; a finished one stays."""
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as shown:

        @contextmanager
        def display(title: str, total: int) -> Iterator[Advance]:
            bar = shown.add_task(title, total=total)
            yield lambda steps: shown.update(bar, advance=steps)

        yield display


@contextmanager
def received(title: str) -> Iterator[Advance]:
    """A line that says how much was received; it takes bytes."""
    total = 0
    with console.status(title) as status:

        def advance(count: int) -> None:
            nonlocal total
            total += count
            status.update(f"{title}, {total / 1e6:.1f} MB")

        yield advance


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows as they come, the first column to the left."""
    table = Table(box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def print_timing(rows: Sequence[tuple[str, str, str, str]], busy: float, total: float) -> None:
    """Print where the time went; the last line is all that was not training, sampling and measuring."""
    table = Table("Stage", box=SIMPLE_HEAD)
    table.add_column("Wall", justify="right")
    table.add_column("Training, sampling, measuring", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(*row)
    table.add_section()
    table.add_row("whole job", f"{total:.1f} s", f"{busy:.1f} s", "")
    table.add_row("orchestration", f"{total - busy:.1f} s", "", f"{(total - busy) / total:.1%} of the job")
    console.print(table)


def print_finding(finding: Finding) -> None:
    """Print a line that passes, or what to do about it."""
    mark = "[green]✓[/]" if finding.passes else "[red]✗[/]"
    console.print(f"{mark} [bold]{finding.line:<12}[/] {escape(finding.says)}", soft_wrap=True)


def print_trace(trace: Trace) -> None:
    """Print the steps, of many alike the first few and every one with a problem; then what does not match, loudly."""
    commits = {step.commit for step in trace.steps if step.commit}
    for title, steps in trace.groups:
        shown = [step for index, step in enumerate(steps) if index < ALIKE or step.problem or step.asked]
        for step in shown:
            colour, mark = MARKS[step.state]
            asked = "  [bold]← asked for[/]" if step.asked else ""
            identity = step.id[:16] if len(step.id) == DIGITS else step.id
            console.print(f"[{colour}]{mark}[/] [bold]{escape(title)}[/]  {escape(identity)}  {step.state}{asked}")
            differ = len(commits) > 1 or title == "Run"  # by each step only where they differ
            entries = [*step.facts, ("Code", step.commit if differ else None), ("Prefect flow run", step.flow_run)]
            entries += [("MLflow run", step.mlflow_url or step.mlflow_run)]
            for name, value in entries:
                if value:
                    console.print(Padding(f"[dim]{escape(name)}[/]  {escape(value)}", (0, 0, 0, 4)))
            if step.problem:
                console.print(Padding(f"[bold red]{escape(step.problem)}[/]", (0, 0, 0, 4)))
        if len(steps) > len(shown):
            console.print(f"  and {len(steps) - len(shown)} more like these; `--json` and `--html` hold them all")
    if trace.problems:
        console.print(f"[bold white on red] {len(trace.problems)} DO NOT MATCH [/] what was recorded:")
        for problem in trace.problems:
            console.print(f"[red]✗[/] {escape(problem)}", soft_wrap=True)
    else:
        console.print(f"All of it matches: {trace.hashed} were hashed, or compared with a second record.")

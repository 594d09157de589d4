"""Tables in a terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from royalty.infra.pages import terminal


def test_amounts_are_whole_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "console", Console(width=80, highlight=False))
    amounts = [f"€{number},234,567.89" for number in range(1, 8)]
    row = ["Ingeborg Wegner-von Hohenlohe-Langenburg", *amounts]
    terminal.print_table(["Contributor", *"ABCDEFG"], [row], whole=range(1, 8))
    printed = capsys.readouterr().out
    assert [amount for amount in amounts if amount not in printed] == []
    assert "…" not in printed


def test_words_wrap_and_what_is_whole_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "console", Console(width=40, highlight=False))
    terminal.print_table(["ID", "What"], [["a" * 16, "one two three four five six seven"]], whole=[0], words=[1])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert "a" * 16 in lines[2]
    assert max(map(len, lines)) <= 40
    assert len(lines) > 3

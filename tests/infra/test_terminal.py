"""Tables in a terminal."""

from __future__ import annotations

import pytest

from royalty.infra.pages import terminal
from royalty.infra.pages.terminal import Terminal
from royalty.infra.wording import visible


def test_amounts_are_whole_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "console", Terminal(width=80, highlight=False))
    amounts = [f"€{number},234,567.89" for number in range(1, 8)]
    row = ["Ingeborg Wegner-von Hohenlohe-Langenburg", *amounts]
    terminal.print_table(["Contributor", *"ABCDEFG"], [row], whole=range(1, 8))
    printed = capsys.readouterr().out
    assert [amount for amount in amounts if amount not in printed] == []
    assert "…" not in printed


def test_words_wrap_and_what_is_whole_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "console", Terminal(width=40, highlight=False))
    terminal.print_table(["ID", "What"], [["a" * 16, "one two three four five six seven"]], whole=[0], words=[1])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert "a" * 16 in lines[2]
    assert max(map(len, lines)) <= 40
    assert len(lines) > 3


OBEYED = "\x1b[31mRED\x1b]0;owned\x07 \r\x9b2J \u202ednuf\u2028 fu\u200bnd \ud800"


def test_characters_that_a_terminal_obeys_are_shown_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "console", Terminal(width=200, highlight=False))
    shown = r"\x1b[31mRED\x1b]0;owned\x07 \r\x9b2J \u202ednuf\u2028 fu\u200bnd \ud800"
    terminal.print_table([f"head {OBEYED}", "b"], [["a", OBEYED]], words=[1])
    terminal.print_notes([OBEYED])
    terminal.console.print(f"Reason      {OBEYED}", markup=False)
    terminal.console.print(f"[bold]{terminal.escape(OBEYED)}[/]")
    printed = capsys.readouterr().out
    assert printed.count(shown) == 5
    assert set(printed) & set(OBEYED) <= set("".join(map(chr, range(32, 127))))


def test_letters_stay_as_they_are() -> None:
    text = "Zoë 名前 می\u200cخ \U0001f469\u200d\U0001f4bb €1\u202f234\tand\nmore"
    assert visible(text) == text

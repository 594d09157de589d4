"""What a revaluation changed, and the Markdown that says so on a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 100
"""Contributors in the table at most: a comment on GitHub holds 65,536 characters."""
LONGEST = 40
"""Characters of a name or a value that are shown."""
MESSAGE = 2000
"""Characters of an error that are shown."""


@dataclass(frozen=True)
class Change:
    """What differs from the last credited run of a name.

    Attributes:
        since, commit: when that run was logged, and by which code.
        added, removed, changed: contributors, by their training images.
        held_out: other images changed, those that nobody is credited for.
        configuration: dotted key, then and now.
        code: what is done by other code now.
        start: coalitions start from other models.
        unpayable: contributors who had no payee and have one now, or the reverse.
        kept: what other code would train now, and is kept all the same.
        coalitions: to be trained or measured.
        seconds: expected of all workers together, from recorded wall times; None where none are recorded.
    """

    name: str
    since: str
    commit: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    held_out: bool
    configuration: tuple[tuple[str, Any, Any], ...]
    code: tuple[str, ...]
    start: bool
    unpayable: tuple[str, ...]
    kept: tuple[str, ...]
    coalitions: int
    seconds: float | None

    @property
    def found(self) -> bool:
        """Whether anything differs that credit or payout may depend on."""
        people = (*self.added, *self.removed, *self.changed, *self.unpayable)
        return bool(people or self.held_out or self.configuration or self.code or self.start)

    @property
    def cost(self) -> str:
        """What a revaluation will take."""
        took = "a time that no record tells of" if self.seconds is None else f"about {self.seconds:.0f} s"
        cost = f"{self.coalitions} coalition(s) to measure, {took}" if self.coalitions else "no coalition to measure"
        # A name stands for one configuration, so that what was paid by it stays explained.
        return f"{cost}, as a run of another name: these settings need one" if self.configuration else cost

    def lines(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """A sentence on each kind of difference, and the names or values that it is about."""
        people = {"came": self.added, "left": self.removed, "changed their images": self.changed}
        yield from ((f"Contributors who {verb}", names) for verb, names in people.items() if names)
        if self.held_out:
            yield "Images that are held out changed", ()
        for key, then, now in self.configuration:
            yield f"Setting {key}, then and now", (repr(then), repr(now))
        if self.code:
            yield f"Other code of: {', '.join(self.code)}", ()
        if self.start:
            yield "Coalitions start from other models", ()
        if self.unpayable:
            yield "Contributors who gained or lost their payee", self.unpayable


@dataclass(frozen=True)
class Standing:
    """Where a contributor stands: place by credit, 1 is highest; credit with its interval; amount, None if unpaid."""

    rank: int
    credit: float
    ci_low: float
    ci_high: float
    amount: str | None


@dataclass(frozen=True)
class Moved:
    """A contributor whose credit, place or amount changed; None is where they were not credited."""

    contributor: str
    then: Standing | None
    now: Standing | None


def standings(rows: Sequence[dict[str, Any]]) -> dict[str, Standing]:
    """By contributor, from the rows of a payout, highest credit first."""
    return {
        row["contributor"]: Standing(rank, row["credit"], row["ci_low"], row["ci_high"], row["amount"])
        for rank, row in enumerate(rows, 1)
    }


def moved_between(then: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> list[Moved]:
    """Who stands elsewhere now, in the order of credit; who is gone comes last."""
    before, after = standings(then), standings(now)
    names = [*after, *(name for name in before if name not in after)]
    return [Moved(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def failed(name: str, failure: str) -> str:
    """The summary of a revaluation that did not come to its end."""
    return f"## Royalty: {shown(name)}\n\n**It failed.** {shown(failure, longest=MESSAGE)}\n"


def markdown(change: Change, moved: Sequence[Moved] | None, *, currency: str) -> str:
    """The summary, in GitHub's Markdown.

    Args:
        moved: None where nothing was revalued.
    """
    lines = [f"## Royalty: {shown(change.name)}", ""]
    since = f"the last credited run, of {change.since} by {shown(change.commit)}"
    if not change.found:
        return "\n".join([*lines, f"Nothing changed since {since}.", *_kept(change), ""])
    lines += [f"Changed since {since}:", ""]
    for sentence, about in change.lines():
        lines.append(f"- {_plain(sentence)}" + (f": {_listed(about)}" if about else ""))
    lines += ["", f"Cost: {change.cost}.", *_kept(change)]
    if moved is None:
        lines += ["", "Nothing was revalued: this is a dry run."]
    elif not moved:
        lines += ["", "Revalued: no credit, place or payout moved."]
    else:
        lines += ["", f"Revalued: {len(moved)} contributor(s) moved.", "", *_table(moved, currency)]
    return "\n".join([*lines, ""])


def shown(text: str, longest: int = LONGEST) -> str:
    """Other people's text as neither Markdown nor HTML reads it, on one line, in `<code>`, where nobody is mentioned.

    Letters and digits of any script stay; every other character is a numeric entity, unless it cannot be printed.
    """
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return f"<code>{''.join(_entity(character) for character in cut)}</code>"


def _entity(character: str) -> str:
    if character.isalnum() or character == " ":
        return character
    return f"&#{ord(character)};" if character.isprintable() else " "


def _plain(text: str) -> str:
    """Our own sentence, in which a key may have underscores."""
    return text.replace("_", "\\_")


def _listed(names: Sequence[str]) -> str:
    left = len(names) - ROWS
    return ", ".join(map(shown, names[:ROWS])) + (f" and {left} more" if left > 0 else "")


def _kept(change: Change) -> Iterator[str]:
    if change.kept:
        yield ""
        yield f"Kept, though other code would train it now: {', '.join(change.kept)}. `--retrain-base` trains it anew."


def _table(moved: Sequence[Moved], currency: str) -> Iterator[str]:
    yield f"| Contributor | Rank | Credit | Interval | Payout ({currency}) |"
    yield "|---|--:|--:|--:|--:|"
    for row in moved[:ROWS]:
        cells = [
            _pair(row, lambda one: str(one.rank)),
            _pair(row, lambda one: f"{one.credit:+.3f}"),
            _pair(row, lambda one: f"{one.ci_low:+.2f} to {one.ci_high:+.2f}"),
            _pair(row, lambda one: one.amount or "none"),
        ]
        yield f"| {shown(row.contributor)} | {' | '.join(cells)} |"
    if len(moved) > ROWS:
        yield ""
        yield f"And {len(moved) - ROWS} more."


def _pair(row: Moved, cell: Any) -> str:
    then, now = ("none" if one is None else cell(one) for one in (row.then, row.now))
    return then if then == now else f"{then} → {now}"

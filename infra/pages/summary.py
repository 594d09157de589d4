"""The changes of a revaluation, and their summary in Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from royalty.infra.pages.cells import rank_text
from royalty.infra.pages.durations import duration
from royalty.infra.wording import counted

ROWS = 100
"""Maximum number of contributors in the table: a comment on GitHub is limited to 65,536 characters."""
LONGEST = 40
"""Characters of a name or a value that are shown."""
MESSAGE = 2000
"""Characters of an error that are shown."""


@dataclass(frozen=True)
class Change:
    """Differences from the last credited run of a name.

    Attributes:
        since, commit: time when that run was logged, and the commit of its code.
        added, removed, changed: contributors, by their training images.
        images_added, images_removed: number of images that are new, and that are gone, held-out ones included; an
            image that was changed counts once in each.
        held_out: whether held-out images changed, for which nobody is credited.
        configuration: dotted key, old and new value of each changed setting.
        code: stages whose code changed.
        start: whether coalitions start from other models.
        unpayable: contributors who gained or lost their payee.
        paid: what was paid by the credit of this run: pool and period, statement, day and amount.
        kept: models that are kept although their code changed.
        coalitions: number of coalitions to train or measure.
        seconds: expected time by the clock of all that is left to do, from the times of the last run; None if none are
            recorded.
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
    images_added: int = 0
    images_removed: int = 0
    paid: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether anything changed that credit or payout may depend on."""
        people = (*self.added, *self.removed, *self.changed, *self.unpayable)
        return bool(people or self.held_out or self.configuration or self.code or self.start)

    @property
    def cost(self) -> str:
        """The expected cost of a revaluation."""
        took = (
            "unknown time (none recorded)" if self.seconds is None else f"about {duration(self.seconds)} by the clock"
        )
        models = counted(self.coalitions, "coalition")
        cost = f"{models} to measure, {took}" if self.coalitions else "no coalition to measure"
        # A name stands for one configuration, so that past payments can still be explained.
        return f"{cost}; changed settings need another run name" if self.configuration else cost

    def lines(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """A phrase for each kind of difference, and the names or values that it applies to."""
        people = {"added": self.added, "removed": self.removed, "with changed images": self.changed}
        yield from ((f"Contributors {state}", names) for state, names in people.items() if names)
        if self.images_added or self.images_removed:
            yield f"Images added: {self.images_added}, removed: {self.images_removed} (held-out ones included)", ()
        if self.held_out:
            yield "Held-out images changed", ()
        for key, then, now in self.configuration:
            yield f"Setting {key}, old and new value", (repr(then), repr(now))
        if self.code:
            yield f"Code changed: {', '.join(self.code)}", ()
        if self.start:
            yield "Coalitions start from other models", ()
        if self.found and self.paid:
            yield "Paid so far by the credit of this run, which stays as it is until a payout is posted", self.paid
        if self.unpayable:
            yield "Contributors who gained or lost their payee", self.unpayable


@dataclass(frozen=True)
class Standing:
    """Ranks by credit that the intervals leave, 1 the highest; credit with its interval; amount, None if unpaid."""

    rank_best: int
    rank_worst: int
    credit: float
    ci_low: float
    ci_high: float
    amount: str | None


@dataclass(frozen=True)
class Moved:
    """A contributor whose credit, rank or amount changed.

    Attributes:
        then, now: None if they were not credited.
        certain: whether the credit has surely moved: its intervals do not overlap.
    """

    contributor: str
    then: Standing | None
    now: Standing | None
    certain: bool


def movement(moved: Sequence[Moved]) -> str:
    """How many contributors moved, and for how many of them this is noise."""
    noise = sum(not row.certain for row in moved)
    if not moved:
        return "No credit, rank or payout changed."
    people = counted(len(moved), "contributor")
    if not noise:
        return f"{people} moved outside their intervals."
    return f"{noise} of {people} moved inside their intervals: this is noise."


REFUSED = "**Revaluation refused.** Nothing was posted; finished work is kept."


def failed(name: str, failure: str, *, refused: bool = False) -> str:
    """The summary of a revaluation that failed, or that was refused.

    Args:
        failure: what went wrong; of a refusal, with the remedy.
        refused: whether somebody has to change or to agree to something.
    """
    title = REFUSED if refused else "**Revaluation failed.**"
    return f"## Royalty: {escaped(name)}\n\n{title} {escaped(failure, longest=MESSAGE)}\n"


def markdown(change: Change, moved: Sequence[Moved] | None, *, currency: str) -> str:
    """The summary, in GitHub's Markdown.

    Args:
        moved: None if nothing was revalued.
    """
    lines = [f"## Royalty: {escaped(change.name)}", ""]
    since = f"the last credited run ({change.since}, {escaped(change.commit)})"
    if not change.found:
        return "\n".join([*lines, f"Nothing changed since {since}.", *_kept(change), ""])
    lines += [f"Changed since {since}:", ""]
    for sentence, about in change.lines():
        lines.append(f"- {_plain(sentence)}" + (f": {_listed(about)}" if about else ""))
    lines += ["", f"Cost: {change.cost}.", *_kept(change)]
    if moved is None:
        lines += ["", "Nothing was revalued: this is a dry run."]
    else:
        lines += ["", f"Revalued. {movement(moved)}", *(["", *_table(moved, currency)] if moved else [])]
    return "\n".join([*lines, ""])


def escaped(text: str, longest: int = LONGEST) -> str:
    """Escape untrusted text: one line in `<code>`, without Markdown, HTML or mentions of users.

    Letters and digits of any script are kept; other printable characters become numeric entities, and the rest spaces.
    """
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return f"<code>{''.join(_entity(character) for character in cut)}</code>"


def _entity(character: str) -> str:
    if character.isalnum() or character == " ":
        return character
    return f"&#{ord(character)};" if character.isprintable() else " "


def _plain(text: str) -> str:
    """Escape the underscores of setting names in a sentence of this module."""
    return text.replace("_", "\\_")


def _listed(names: Sequence[str]) -> str:
    left = len(names) - ROWS
    return ", ".join(map(escaped, names[:ROWS])) + (f" and {left} more" if left > 0 else "")


def _kept(change: Change) -> Iterator[str]:
    if change.kept:
        yield ""
        yield f"Kept, although its code changed: {', '.join(change.kept)}. Use `--retrain-base` to retrain it."


def _table(moved: Sequence[Moved], currency: str) -> Iterator[str]:
    yield f"| Contributor | Rank | Credit | Interval | Moved | Payout ({currency}) |"
    yield "|---|--:|--:|--:|---|--:|"
    for row in moved[:ROWS]:
        cells = [
            _pair(row, lambda standing: rank_text(standing.rank_best, standing.rank_worst)),
            _pair(row, lambda standing: f"{standing.credit:+.3f}"),
            _pair(row, lambda standing: f"{standing.ci_low:+.2f} to {standing.ci_high:+.2f}"),
            "surely" if row.certain else "inside its interval",
            _pair(row, lambda standing: standing.amount or "none"),
        ]
        yield f"| {escaped(row.contributor)} | {' | '.join(cells)} |"
    if len(moved) > ROWS:
        yield ""
        yield f"And {len(moved) - ROWS} more."


def _pair(row: Moved, cell: Any) -> str:
    then, now = ("none" if standing is None else cell(standing) for standing in (row.then, row.now))
    return then if then == now else f"{then} → {now}"

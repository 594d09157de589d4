"""Cases: disputes about works and money, from opening to decision. What was said in one is only added to.

While a case is open, money of its contributors is held: divisions hold it (`royalty.tasks.pay.holds`), and it cannot
be released but by the decision of the case (`royalty.infra.ledger.decisions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from royalty.infra.ledger.acts import Act, acts_of, append, read_acts, writing
from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.stores.database import reading
from royalty.infra.stores.records import Seal

Outcome = Literal["release", "reverse"]
"""What becomes of the money that a case holds: its contributors get it, or it returns to the pools' reserve."""


@dataclass(frozen=True)
class Evidence:
    """A file that was given with an act; the store of artifacts has its content."""

    name: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class Award:
    """Money that a decision takes from a contributor of the case and gives to another person.

    Attributes:
        giver, taker: contributors; the taker is paid with the next pool.
        minor: minor units of `currency`, above zero.
    """

    giver: str
    taker: str
    minor: int
    currency: str


@dataclass(frozen=True)
class Case:
    """A dispute.

    Attributes:
        claimant: who raised it.
        contributors: those whose money it holds.
        works: file names or IDs of the works in dispute; empty for all of a contributor.
        deadline: date until which it is to be decided, YYYY-MM-DD; empty without one.
        acts: all that was done in it, in order.
    """

    id: str
    claimant: str
    contributors: tuple[str, ...]
    works: tuple[str, ...]
    reason: str
    deadline: str
    acts: tuple[Act, ...]

    @classmethod
    def of(cls, acts: Sequence[Act]) -> Case:
        """The case of these acts, of which the first opened it."""
        first = acts[0].body
        return cls(
            id=acts[0].reference,
            claimant=str(first["claimant"]),
            contributors=tuple(first["contributors"]),
            works=tuple(first["works"]),
            reason=str(first["reason"]),
            deadline=str(first["deadline"]),
            acts=tuple(acts),
        )

    @property
    def decision(self) -> Act | None:
        """The act that decided the case; None while it is open."""
        return next((act for act in self.acts if act.kind == "decided"), None)

    @property
    def is_open(self) -> bool:
        return self.decision is None

    @property
    def opened_at(self) -> str:
        return self.acts[0].created_at

    @property
    def evidence(self) -> list[Evidence]:
        """All files, in the order in which they were given."""
        return [Evidence(**file) for act in self.acts for file in act.body.get("evidence", ())]

    def state(self, today: date) -> str:
        """`open`, `overdue` after its deadline, `released` or `reversed`."""
        if self.decision is not None:
            return {"release": "released", "reverse": "reversed"}[self.decision.body["outcome"]]
        return "overdue" if self.deadline and self.deadline < today.isoformat() else "open"


def cases_of(acts: Iterable[Act]) -> list[Case]:
    """All cases, in the order of their opening."""
    by_case: dict[str, list[Act]] = {}
    for act in acts:
        if act.subject == "case":
            by_case.setdefault(act.reference, []).append(act)
    return [Case.of(own) for own in by_case.values()]


def open_cases(session: Session, seal: Seal | None) -> dict[str, list[str]]:
    """IDs of the open cases of each contributor who has any."""
    held: dict[str, list[str]] = {}
    for case in cases_of(read_acts(session, seal)):
        for name in case.contributors if case.is_open else ():
            held.setdefault(name, []).append(case.id)
    return held


def open_case(session: Session, seal: Seal | None, reference: str) -> Case:
    """An open case, by its ID or the start of it.

    Raises:
        LedgerConflict: there is no such case, or it is decided.
    """
    case = Case.of(acts_of(session, seal, "case", reference))
    if case.decision is not None:
        raise LedgerConflict(
            f"a decided case is closed: {case.id} was decided on {case.decision.created_at[:10]} by "
            f"{case.decision.actor}. Open another case"
        )
    return case


class Cases:
    """The cases in the database of a ledger; `royalty.infra.ledger.decisions` decides them.

    Its arguments are those of `royalty.infra.ledger.acts.Acts`.
    """

    def __init__(self, engine: Engine, seal: Seal | None = None) -> None:
        self.engine, self.seal = engine, seal

    def all(self) -> list[Case]:
        """All cases, in the order of their opening."""
        with reading(self.engine) as session:
            return cases_of(read_acts(session, self.seal))

    def case(self, reference: str) -> Case:
        """A case by its ID, or the first 6 characters of it."""
        with reading(self.engine) as session:
            return Case.of(acts_of(session, self.seal, "case", reference))

    def held(self) -> dict[str, list[str]]:
        """IDs of the open cases of each contributor who has any."""
        with reading(self.engine) as session:
            return open_cases(session, self.seal)

    def open(
        self,
        actor: str,
        *,
        claimant: str,
        contributors: Sequence[str],
        reason: str,
        works: Sequence[str] = (),
        deadline: str = "",
        evidence: Sequence[Evidence] = (),
    ) -> Case:
        """Open a case, which from now on holds money of its contributors."""
        body = {
            "claimant": claimant,
            "contributors": list(dict.fromkeys(contributors)),
            "works": list(works),
            "reason": reason,
            "deadline": deadline,
            "evidence": [asdict(file) for file in evidence],
        }
        with writing(self.engine, self.seal) as session:
            return Case.of([append(session, self.seal, "case", None, "opened", actor, body)])

    def add_message(self, reference: str, actor: str, text: str, evidence: Sequence[Evidence] = ()) -> Case:
        """Add a message to an open case.

        Raises:
            LedgerConflict: there is no such case, or it is decided.
        """
        body: Mapping[str, Any] = {"text": text, "evidence": [asdict(file) for file in evidence]}
        with writing(self.engine, self.seal) as session:
            case = open_case(session, self.seal, reference)
            act = append(session, self.seal, "case", case.id, "message", actor, body)
            return Case.of([*case.acts, act])

"""Approvals: payouts that wait for a second person. Who asked and who agreed are acts, and rows are only added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from royalty.infra.ledger.acts import Act, UnknownAct, acts_of, append, read_acts, writing
from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.stores.database import reading
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.records import Seal


@dataclass(frozen=True)
class Approval:
    """A payout that waits, or waited, for a second person.

    Attributes:
        id: start of the digest of what is to be posted, so that another amount or account is another approval.
        acts: `requested` by each person who tried to post it, then `approved` or `rejected`.
    """

    id: str
    acts: tuple[Act, ...]

    @property
    def request(self) -> Mapping[str, Any]:
        """What is to be posted and why it waits, as the last request says it."""
        return [act for act in self.acts if act.kind == "requested"][-1].body

    @property
    def requested_by(self) -> list[str]:
        return list(dict.fromkeys(act.actor for act in self.acts if act.kind == "requested"))

    @property
    def verdict(self) -> Act | None:
        """The act that approved or rejected it; None while it waits."""
        return next((act for act in self.acts if act.kind in ("approved", "rejected")), None)

    @property
    def state(self) -> str:
        return "waiting" if self.verdict is None else self.verdict.kind


class Approvals:
    """The approvals in the database of a ledger; its arguments are those of `Acts`."""

    def __init__(self, engine: Engine, seal: Seal | None = None) -> None:
        self.engine, self.seal = engine, seal

    def all(self) -> list[Approval]:
        """All approvals, in the order of their first requests."""
        with reading(self.engine) as session:
            return _grouped(read_acts(session, self.seal))

    def approval(self, reference: str) -> Approval:
        """An approval by its ID, or the first 6 characters of it."""
        with reading(self.engine) as session:
            return _grouped(acts_of(session, self.seal, "approval", reference))[0]

    def request(self, actor: str, content: Mapping[str, Any], body: Mapping[str, Any]) -> Approval:
        """Ask for an approval; asking again for the same content adds nothing but who else asks.

        Args:
            content: what is to be posted, as JSON; its digest is the ID.
            body: what the second person needs to know, and what posts it.
        """
        reference = digest_of(content)[:12]
        with writing(self.engine, self.seal) as session:
            try:
                acts = acts_of(session, self.seal, "approval", reference)
            except UnknownAct:
                acts = []
            known = _grouped(acts)
            if known and any(act.body.get("content", dict(content)) != dict(content) for act in acts[:1]):
                raise LedgerConflict(
                    f"an approval stands for one posting, and {reference} is of another one; rename the pool"
                )
            if known and (known[0].verdict is not None or _asked(acts, actor, body)):
                return known[0]
            acts.append(append(session, self.seal, "approval", reference, "requested", actor, body))
            return _grouped(acts)[0]

    def decide(
        self, reference: str, actor: str, *, approve: bool, note: str, same: Callable[[str, str], bool]
    ) -> Approval:
        """Approve or reject what waits.

        Args:
            note: why, in words.
            same: whether two names are those of one person.

        Raises:
            LedgerConflict: nothing waits under this ID, or this person asked for it.
        """
        with writing(self.engine, self.seal) as session:
            approval = _grouped(acts_of(session, self.seal, "approval", reference))[0]
            if approval.verdict is not None:
                raise LedgerConflict(
                    f"an approval is given or refused once: {approval.id} was {approval.verdict.kind} on "
                    f"{approval.verdict.created_at[:10]} by {approval.verdict.actor}"
                )
            if any(same(actor, first) for first in approval.requested_by):
                raise LedgerConflict(
                    f"a payout is approved by a second person, and {actor!r} asked for {approval.id}. Nothing was "
                    "posted; somebody else approves it (`--by NAME`, or ROYALTY_ACTOR)"
                )
            kind = "approved" if approve else "rejected"
            act = append(session, self.seal, "approval", approval.id, kind, actor, {"note": note})
            return _grouped([*approval.acts, act])[0]


def _asked(acts: Sequence[Act], actor: str, body: Mapping[str, Any]) -> bool:
    """Whether this person asked for it last, in the same words and from the same flow run."""
    return bool(acts) and (acts[-1].kind, acts[-1].actor, acts[-1].body) == ("requested", actor, dict(body))


def _grouped(acts: Iterable[Act]) -> list[Approval]:
    by_approval: dict[str, list[Act]] = {}
    for act in acts:
        if act.subject == "approval":
            by_approval.setdefault(act.reference, []).append(act)
    return [Approval(reference, tuple(own)) for reference, own in by_approval.items()]

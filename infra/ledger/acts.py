"""Acts of people beside the ledger: what was said and decided in cases, opt-outs and approvals. Rows are only added.

Each act holds the hash of the one before it, as statements do. Statements hold the head of the acts that they were
posted after, so that acts cannot be rewritten without rewriting the ledger. The home that writes an act signs it
(`royalty.infra.stores.links`), so that nobody without its key can add one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from royalty.infra.ledger.postings import LedgerConflict
from royalty.infra.stores.chain import ACT_PARTS, GENESIS, act_hash
from royalty.infra.stores.database import reading, writing_alone
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.links import sign_earlier_links, sign_link, unsigned_link
from royalty.infra.stores.records import Seal
from royalty.infra.stores.tables import ActRow, PolicyRow, StatementRow, now

Subject = Literal["case", "opt-out", "approval"]
NAMED = ("acts", "approved", "opened", "decided")
"""Terms of a statement that hold the hash of an act."""


class ActsBroken(LedgerConflict):
    """The acts do not verify, so nothing can be decided or paid by them."""


class UnknownAct(LedgerConflict):
    """There is no case, opt-out or approval with an ID."""


@dataclass(frozen=True)
class Act:
    """What a person did.

    Attributes:
        position: position in the chain of all acts, which defines their order; the clock does not.
        reference: ID of the case, opt-out or approval.
        kind: `opened`, `message`, `decided` and so on.
        actor: who did it.
        body: what the act says.
    """

    position: int
    subject: str
    reference: str
    kind: str
    actor: str
    body: Mapping[str, Any]
    previous: str
    hash: str
    created_at: str


@contextmanager
def writing(engine: Engine, seal: Seal | None) -> Iterator[Session]:
    """A transaction that excludes other acts and postings.

    Raises:
        StoreError: acts of earlier versions are there, and no key to sign them with.
    """
    sign_earlier_links(engine, seal)
    with writing_alone(engine) as session:
        yield session


def read_acts(session: Session, seal: Seal | None) -> list[Act]:
    """All acts in order, verified.

    Args:
        seal: None: signatures are not verified.

    Raises:
        ActsBroken: an act is not valid, or the product did not write it.
    """
    acts, head = list[Act](), GENESIS
    for position, row in enumerate(session.scalars(select(ActRow).order_by(ActRow.position)), start=1):
        act = Act(**{part: getattr(row, part) for part in (*ACT_PARTS, "previous", "hash")})
        if (act.position, act.previous) != (position, head) or act_hash(vars(act), head) != act.hash:
            raise ActsBroken(
                f"acts hold as they were written, but act {position} ({_named(act)}) has been changed, or one before "
                "it is missing. Restore the database from a backup; `royalty ledger` verifies it"
            )
        head = act.hash
        acts.append(act)
    if (unsigned := unsigned_link(session, "acts", [act.hash for act in acts], seal)) is not None:
        position, why = unsigned
        named = _named(acts[position - 1]) if position <= len(acts) else "the last"
        raise ActsBroken(
            f"acts are signed by the home that writes them, but act {position} ({named}) is not valid: {why}. Nothing "
            "is decided or paid by acts until then; if nobody whom you trust wrote it, restore the database from a "
            "backup. `royalty ledger` verifies it"
        )
    return acts


def _named(act: Act) -> str:
    return f"{act.kind!r} of {act.subject} {act.reference}"


def acts_of(session: Session, seal: Seal | None, subject: Subject, reference: str) -> list[Act]:
    """The acts of one case, opt-out or approval.

    Args:
        seal: as for `read_acts`.
        reference: its ID, or at least the first 6 characters.

    Raises:
        UnknownAct: there is none, or there are several.
        ActsBroken: an act is not valid.
    """
    known = [act for act in read_acts(session, seal) if act.subject == subject]
    ids = {act.reference for act in known if act.reference == reference}
    ids = ids or {act.reference for act in known if len(reference) >= 6 and act.reference.startswith(reference)}
    if len(ids) != 1:
        there = sorted({act.reference for act in known})
        listed = f"there are {', '.join(there[-5:])}" if there else f"there is no {subject} yet"
        raise UnknownAct(f"the ID names one {subject}, got {reference!r}; {listed}")
    return [act for act in known if act.reference in ids]


def append(
    session: Session,
    seal: Seal | None,
    subject: Subject,
    reference: str | None,
    kind: str,
    actor: str,
    body: Mapping[str, Any],
) -> Act:
    """Write and sign an act after the last one; the caller holds the lock of the database (`writing`).

    Args:
        seal: None: it is not signed, so that nobody with a seal accepts it.
        reference: ID of the case, opt-out or approval; None gives a new one.
    """
    acts = read_acts(session, seal)
    last = acts[-1] if acts else None
    position, previous = (last.position + 1, last.hash) if last else (1, GENESIS)
    content: dict[str, Any] = {
        "subject": subject,
        "kind": kind,
        "actor": actor,
        "body": dict(body),
        "created_at": now(),
    }
    content |= {"position": position, "reference": reference or digest_of([previous, content])[:12]}
    act = Act(**content, previous=previous, hash=act_hash(content, previous))
    session.add(ActRow(**vars(act)))
    sign_link(session, seal, "acts", position, act.hash)
    session.flush()
    return act


class Acts:
    """The acts in the database of a ledger.

    Args:
        seal: signs acts, and tells whose signatures count; None: they are neither written nor verified.
    """

    def __init__(self, engine: Engine, seal: Seal | None = None) -> None:
        self.engine, self.seal = engine, seal

    def all(self, subject: Subject | None = None) -> list[Act]:
        """All acts in order, or those on cases, opt-outs or approvals."""
        with reading(self.engine) as session:
            return [act for act in read_acts(session, self.seal) if subject in (None, act.subject)]

    def of(self, subject: Subject, reference: str) -> list[Act]:
        """See `acts_of`."""
        with reading(self.engine) as session:
            return acts_of(session, self.seal, subject, reference)

    def record(
        self, subject: Subject, kind: str, actor: str, body: Mapping[str, Any], reference: str | None = None
    ) -> Act:
        """Write an act that depends on no other one."""
        with writing(self.engine, self.seal) as session:
            return append(session, self.seal, subject, reference, kind, actor, body)

    def head(self) -> str:
        """Hash of the last act."""
        return next((act.hash for act in reversed(self.all())), GENESIS)

    def problems(self) -> list[str]:
        """Sentences about acts that are not valid, and about statements that were posted after acts that are gone."""
        with reading(self.engine) as session:
            try:
                heads = {act.hash for act in read_acts(session, self.seal)}
            except ActsBroken as broken:
                return [str(broken)]
            rows = session.execute(
                select(StatementRow.id, PolicyRow.terms)
                .join(PolicyRow, PolicyRow.digest == StatementRow.policy)
                .order_by(StatementRow.position)
            )
            named = [(identity, terms.get(part)) for identity, terms in rows for part in NAMED]
        return [
            f"statement {identity} was posted after an act with the hash {head[:12]}, and no act has it: acts were "
            "rewritten or removed since"
            for identity, head in named
            if head is not None and head not in heads
        ]

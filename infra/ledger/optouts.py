"""Opt-outs: works that their contributor withdraws from training, from now on. Each is an act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from royalty.infra.ledger.acts import Act, Acts
from royalty.infra.ledger.cases import Evidence


@dataclass(frozen=True)
class OptOut:
    """Works that are no longer trained on.

    Attributes:
        works: file names as the image source lists them; empty for all of the contributor.
        co_owners: the other contributors of these works in the indexes of the home, when they were withdrawn.
    """

    id: str
    contributor: str
    works: tuple[str, ...]
    reason: str
    co_owners: tuple[str, ...]
    act: Act

    @classmethod
    def of(cls, act: Act) -> OptOut:
        body = act.body
        others = tuple(body.get("co_owners", ()))  # acts of earlier versions lack them
        return cls(act.reference, body["contributor"], tuple(body["works"]), body["reason"], others, act)


def record_optout(
    acts: Acts,
    actor: str,
    contributor: str,
    works: Sequence[str],
    reason: str,
    evidence: Sequence[Evidence] = (),
    co_owners: Iterable[str] = (),
) -> OptOut:
    """Record that a contributor withdraws works."""
    body = {
        "contributor": contributor,
        "works": sorted(set(works)),
        "reason": reason,
        "co_owners": sorted(set(co_owners)),
        "evidence": [asdict(file) for file in evidence],
    }
    return OptOut.of(acts.record("opt-out", "recorded", actor, body))


def optouts(acts: Acts) -> list[OptOut]:
    """All opt-outs, in order."""
    return [OptOut.of(act) for act in acts.all("opt-out")]

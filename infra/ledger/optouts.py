"""Opt-outs: works that their contributor withdraws from training, from now on. Each is an act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from royalty.infra.ledger.acts import Act, Acts
from royalty.infra.ledger.cases import Evidence


@dataclass(frozen=True)
class OptOut:
    """Works that are no longer trained on.

    Attributes:
        works: file names as the image source lists them; empty for all of the contributor.
    """

    id: str
    contributor: str
    works: tuple[str, ...]
    reason: str
    act: Act

    @classmethod
    def of(cls, act: Act) -> OptOut:
        return cls(act.reference, act.body["contributor"], tuple(act.body["works"]), act.body["reason"], act)


def record_optout(
    acts: Acts, actor: str, contributor: str, works: Sequence[str], reason: str, evidence: Sequence[Evidence] = ()
) -> OptOut:
    """Record that a contributor withdraws works."""
    body = {
        "contributor": contributor,
        "works": sorted(set(works)),
        "reason": reason,
        "evidence": [asdict(file) for file in evidence],
    }
    return OptOut.of(acts.record("opt-out", "recorded", actor, body))


def optouts(acts: Acts) -> list[OptOut]:
    """All opt-outs, in order."""
    return [OptOut.of(act) for act in acts.all("opt-out")]

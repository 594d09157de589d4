"""Opt-outs: works that their contributor withdraws from training, from now on. Each gets a receipt.

An opt-out is an act; its receipt holds all that the act's hash covers, so that anybody can recompute the hash, and so
that the contributor can show later what was withdrawn and when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from royalty.infra.ledger.acts import Act, Acts
from royalty.infra.ledger.cases import Evidence
from royalty.infra.stores.chain import ACT_PARTS, act_hash

Document = Mapping[str, Any]
Sign = Callable[[Document], Mapping[str, str]]
"""Signs a document, and says with which key."""
IsSigned = Callable[[Document, Mapping[str, str]], bool]
"""Whether a signature of a document is by a key of this home."""


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

    def covers(self, contributors: Sequence[str], file_name: str) -> bool:
        """Whether an image of these contributors is withdrawn."""
        return self.contributor in contributors and (not self.works or file_name in self.works)


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


def receipt(optout: OptOut, sign: Sign | None = None) -> dict[str, Any]:
    """The receipt of an opt-out, as JSON.

    Its `hash` is the SHA-256 of the canonical JSON (sorted keys, no spaces, UTF-8) of `previous` and `act`.

    Args:
        sign: signs all the rest; None leaves the receipt unsigned.
    """
    act = optout.act
    content = {"previous": act.previous, "act": {part: getattr(act, part) for part in ACT_PARTS}}
    document = {"royalty": "opt-out receipt", **content, "hash": act.hash}
    return {**document, "signature": dict(sign(document)) if sign is not None else None}


def receipt_fault(document: Document, acts: Acts, is_signed: IsSigned) -> str | None:
    """Why a receipt does not fit the acts and keys of this home; None if it does."""
    try:
        act, previous, stated = dict(document["act"]), document["previous"], document["hash"]
        if act_hash(act, previous) != stated:
            return "its hash does not match its content: the receipt has been changed"
        signature, signed = document["signature"], {part: document[part] for part in document if part != "signature"}
        if signature is not None and not is_signed(signed, signature):
            return "its signature is not by a key of this home"
    except (KeyError, TypeError, ValueError):
        return "it is not a receipt of an opt-out"
    known = {known.hash for known in acts.all("opt-out")}
    return (
        None if stated in known else "no opt-out of this home has its hash: the record was removed, or made elsewhere"
    )

"""The signatures of links of the chains of acts and statements, which prove that the product wrote them.

Whoever can write to the database can add an act or a statement with the right hash. Without the private key they cannot
sign it. A signature covers the chain, the position and the hash of a link, and thereby all links before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from royalty.infra.stores.database import writing_alone
from royalty.infra.stores.records import Seal
from royalty.infra.stores.tables import ActRow, LinkSignatureRow, StatementRow

Chain = Literal["acts", "statements"]
ROWS: dict[Chain, Any] = {"acts": ActRow, "statements": StatementRow}
COVERED = "its hash or its place in the chain"


def sign_earlier_links(engine: Engine, seal: Seal | None) -> None:
    """When a home is opened, and before a link is written: sign the links of earlier versions, if none is signed.

    It is done once, because later nobody can tell such a link from one that was added by hand.

    Raises:
        StoreError: there is no key to sign them with; or it cannot be kept that they were signed.
    """
    if seal is None or seal.seals("links"):
        return
    signed = 0
    with writing_alone(engine) as session:
        if session.scalars(select(LinkSignatureRow).limit(1)).first() is None:
            for chain, row in ROWS.items():
                # Written without a key too, so that whoever opens the database next signs no link that was added since.
                session.add(LinkSignatureRow(chain=chain, position=0, key="", value=""))
                for position, digest in session.execute(select(row.position, row.hash).order_by(row.position)).all():
                    sign_link(session, seal, chain, position, digest)
                    signed += 1
    seal.start_sealing("links", signed)


def sign_link(session: Session, seal: Seal | None, chain: Chain, position: int, digest: str) -> None:
    """Write the signature of a link, in the transaction that writes the link."""
    if seal is not None:
        key, value = seal.sign(link_document(chain, position, digest))
        session.add(LinkSignatureRow(chain=chain, position=position, key=key, value=value))


def link_signatures(session: Session, chain: Chain) -> dict[int, tuple[str, str]]:
    """Identification of the key, and the signature, of each link by its position."""
    columns = LinkSignatureRow.position, LinkSignatureRow.key, LinkSignatureRow.value
    rows = session.execute(select(*columns).where(LinkSignatureRow.chain == chain, LinkSignatureRow.position > 0))
    return {position: (key, value) for position, key, value in rows}


def unsigned_link(session: Session, chain: Chain, digests: Sequence[str], seal: Seal | None) -> tuple[int, str] | None:
    """Position of the first link that no accepted key signed as it is, and why; of one that is gone, if none is.

    Args:
        digests: hashes of all links, in their order.
        seal: None: signatures are not verified.
    """
    if seal is None:
        return None
    signatures = link_signatures(session, chain)
    for position, digest in enumerate(digests, start=1):
        if position not in signatures:
            return position, "it is not signed, so the product did not write it"
        if (why := seal.fault(link_document(chain, position, digest), *signatures[position], COVERED)) is not None:
            return position, why
    if max(signatures, default=0) > len(digests):
        return len(digests) + 1, "it was removed after it was signed"
    return None


def link_document(chain: Chain, position: int, digest: str) -> dict[str, Any]:
    """What is signed of a link."""
    return {"royalty": f"link of the {chain}", "position": position, "hash": digest}

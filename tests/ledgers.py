"""Postings to a ledger, and ledgers as earlier versions left them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from royalty.infra.ledger.book import pages
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import Posting
from royalty.infra.ledger.verification import FIRST_PART
from royalty.infra.stores.chain import ENTRY_PARTS, GENESIS, HEADER, PARTS, body_of, header_hash, statement_hash
from royalty.infra.stores.database import VERSION_TABLE
from royalty.infra.stores.links import sign_link

RUN_STORE = ("runs", "stages", "coalition_models", "measurements", "anchors", "lineage", "origins")


def euros(valuation: str, amounts: Mapping[str, int], **more: object) -> Posting:
    return Posting(valuation=valuation, currency="EUR", amounts=amounts, **more)


def without_triggers(engine: Engine, *tables: str) -> None:
    """Drop every trigger on these tables, as whoever owns the database can; of all tables, if none is named."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            query = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
            for name, table in connection.execute(text(query)).all():
                if not tables or table in tables:
                    connection.execute(text(f"DROP TRIGGER {name}"))
            return
        query = "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON tgrelid = pg_class.oid WHERE NOT tgisinternal"
        for name, table in connection.execute(text(query)).all():
            if not tables or table in tables:
                connection.execute(text(f"DROP TRIGGER {name} ON {table}"))


def before_evidence(engine: Engine) -> None:
    """Leave an SQLite ledger as version 4 of the schema did: hashes cover entries, and no evidence is there."""
    without_triggers(engine)
    with engine.begin() as connection:
        previous = GENESIS
        pools = {row["id"]: row for row in connection.execute(text("SELECT * FROM pools")).mappings()}
        for row in connection.execute(text("SELECT * FROM statements ORDER BY position")).mappings().all():
            own = text("SELECT * FROM entries WHERE statement = :id")
            entries = [
                {part: entry[part] for part in ENTRY_PARTS}
                for entry in connection.execute(own, {"id": row["id"]}).mappings()
            ]
            statement = {part: row[part] for part in PARTS}
            head = statement_hash(statement, pools[row["pool"]], entries, previous)
            change = text("UPDATE statements SET previous = :previous, hash = :hash WHERE id = :id")
            connection.execute(change, {"previous": previous, "hash": head, "id": row["id"]})
            previous = head
        for table in ("evidence", "signatures", "link_signatures"):
            connection.execute(text(f"DROP TABLE {table}"))
        for column in ("version", "evidence", "body", "totals"):
            connection.execute(text(f"ALTER TABLE statements DROP COLUMN {column}"))
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '4'"))


def rewrite(ledger: Ledger, contributor: str = "ann", other: str = "bob", moved: int = 400) -> None:
    """Move money between two people of the first statement, and chain all anew, with the product's code and key."""
    without_triggers(ledger.engine)
    with ledger.engine.begin() as connection:
        for name, amount in ((contributor, -moved), (other, moved)):
            change = (
                "UPDATE entries SET amount_minor = amount_minor + :amount WHERE contributor = :name AND statement = "
            )
            first = "(SELECT id FROM statements WHERE position = 1)"
            connection.execute(text(change + first), {"amount": amount, "name": name})
    previous = GENESIS
    with Session(ledger.engine) as session, session.begin():
        for page in list(pages(session)):
            row = page.statement
            row.body, row.totals = body_of(line[FIRST_PART:] for line in page.lines)
            row.previous = previous
            row.hash = previous = header_hash({part: getattr(row, part) for part in HEADER}, vars(page.pool), previous)
            session.execute(
                text("DELETE FROM link_signatures WHERE chain = 'statements' AND position = :position"), vars(row)
            )
            sign_link(session, ledger.witness, "statements", row.position, row.hash)

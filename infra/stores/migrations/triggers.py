"""What the database itself refuses of the ledger, whoever asks."""

from __future__ import annotations

from sqlalchemy import Connection

KEYS = {"pools": "id", "policies": "digest", "credit_tables": "id", "statements": "id", "entries": "id"}
"""Tables of the ledger, to which rows are only added, and their keys."""

SAME_ENTRY = " AND ".join(f"{part} = NEW.{part}" for part in ("pool", "contributor", "valuation", "kind"))
POSTED = "(SELECT COALESCE(SUM(amount_minor), 0) FROM entries WHERE statement = NEW.id)"
NEXT = "(SELECT COALESCE(MAX(position), 0) + 1 FROM statements)"
LAST_HASH = "COALESCE((SELECT hash FROM statements ORDER BY position DESC LIMIT 1), '" + "0" * 64 + "')"

APPEND_ONLY = "the ledger is append-only"
CHAINED = "a statement follows the last one, whose hash it holds"
CLOSED = "a statement is closed: entries are written before it, not after"
BALANCED = "the entries of a statement sum to zero"


def create_triggers(connection: Connection) -> None:
    """Refuse changes of rows, entries after their statement, and statements unbalanced or out of the chain."""
    commands = _sqlite() if connection.dialect.name == "sqlite" else _postgresql()
    for command in commands:
        connection.exec_driver_sql(command)


def _sqlite() -> list[str]:
    def refuse(name: str, event: str, message: str, when: str = "1") -> str:
        return f"CREATE TRIGGER {name} BEFORE {event} WHEN {when} BEGIN SELECT RAISE(ABORT, '{message}'); END"

    commands = []
    for table, key in KEYS.items():
        for event in ("UPDATE", "DELETE"):
            message = f"{APPEND_ONLY}: {event} of {table} is refused"
            commands.append(refuse(f"{table}_no_{event.lower()}", f"{event} ON {table}", message))
        # INSERT OR REPLACE deletes without asking the trigger on DELETE.
        there = f"EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"
        message = f"{APPEND_ONLY}: this row of {table} is there"
        commands.append(refuse(f"{table}_no_replace", f"INSERT ON {table}", message, there))
    there, closed = (
        f"EXISTS (SELECT 1 FROM entries WHERE {SAME_ENTRY})",
        "EXISTS (SELECT 1 FROM statements WHERE id = NEW.statement)",
    )
    message = "UNIQUE: a contributor has one entry of a kind for a pool and valuation"
    return [
        *commands,
        refuse("entries_once", "INSERT ON entries", message, there),
        refuse("entries_closed", "INSERT ON entries", CLOSED, closed),
        refuse("statements_balanced", "INSERT ON statements", BALANCED, f"{POSTED} <> 0"),
        refuse(
            "statements_chained",
            "INSERT ON statements",
            CHAINED,
            f"NEW.position <> {NEXT} OR NEW.previous <> {LAST_HASH}",
        ),
    ]


def _postgresql() -> list[str]:
    def function(name: str, condition: str, message: str, otherwise: str) -> str:
        refusal = f"RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = {message};"
        body = f"IF {condition} THEN {refusal} END IF; RETURN {otherwise};"
        return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"

    changed = "'the ledger is append-only: ' || TG_OP || ' of ' || TG_TABLE_NAME || ' is refused'"
    closed, chained = "EXISTS (SELECT 1 FROM statements WHERE id = NEW.statement)", f"NEW.position <> {NEXT}"
    commands = [
        function("royalty_append_only", "TRUE", changed, "NULL"),
        function("royalty_closed", closed, f"'{CLOSED}'", "NEW"),
        function("royalty_balanced", f"{POSTED} <> 0", f"'{BALANCED}'", "NULL"),
        function("royalty_chained", f"{chained} OR NEW.previous <> {LAST_HASH}", f"'{CHAINED}'", "NEW"),
    ]
    refuse = "EXECUTE FUNCTION royalty_append_only()"
    for table in KEYS:
        commands += [
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {refuse}",
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}",
        ]
    return [
        *commands,
        "CREATE TRIGGER entries_closed BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION royalty_closed()",
        "CREATE TRIGGER statements_chained BEFORE INSERT ON statements FOR EACH ROW EXECUTE FUNCTION royalty_chained()",
        "CREATE CONSTRAINT TRIGGER statements_balanced AFTER INSERT ON statements DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION royalty_balanced()",
    ]

"""The decision of a case: what it holds is released or returned to the pools' reserve, and awards go to others.

A decision is an act of the case, and a statement of each pool whose money it moves, which holds the hash of the act.
All are written, or none.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from sqlalchemy.orm import Session

from royalty.infra.ledger.acts import append
from royalty.infra.ledger.cases import Award, Case, Evidence, Outcome, open_case, open_cases
from royalty.infra.ledger.change import Entry, Money, money_by_contributor
from royalty.infra.ledger.ledger import Ledger, close_statement, entry_row, identity_of, released, store_policy
from royalty.infra.ledger.money import formatted
from royalty.infra.ledger.postings import HOUSE, LedgerConflict
from royalty.infra.ledger.verification import FOLLOWED, Book, check_evidence, verified_pages
from royalty.infra.stores.chain import returned
from royalty.infra.stores.database import reading
from royalty.infra.stores.tables import PoolRow, StatementRow

OTHERS = ("disputed", "unpayable", "confusable")
"""Terms of a division that list contributors whose money is held for another reason than a case."""


@dataclass
class Place:
    """A pool in which a decision may move money.

    Attributes:
        current: the division or correction that the pool follows.
        money: of the contributors of the case, in this pool.
        holds: why money is held, by contributor.
        rates: share of payments that is withheld as tax, by contributor, as the pool was divided.
        approved: whether the pool was divided by rules of approval.
    """

    pool: PoolRow
    current: StatementRow
    money: dict[str, Money] = field(default_factory=dict)
    holds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rates: Mapping[str, Fraction] = field(default_factory=dict)
    approved: bool = False

    def held(self, case: Case, name: str) -> int:
        """Minor units of a contributor that the pool holds because of a case, whatever else holds them."""
        return self.money[name].held if name in self.money and f"case {case.id}" in self.holds.get(name, ()) else 0


@dataclass(frozen=True)
class Decided:
    """A decided case, and the statements that moved its money.

    Attributes:
        kept: sentences on money that stays held for other reasons.
    """

    case: Case
    statements: tuple[str, ...]
    kept: tuple[str, ...]


def decide(
    ledger: Ledger,
    reference: str,
    actor: str,
    *,
    outcome: Outcome,
    reason: str,
    awards: Sequence[Award] = (),
    evidence: Sequence[Evidence] = (),
    same: Callable[[str, str], bool] = operator.eq,
) -> Decided:
    """Decide an open case, and move the money that it alone holds.

    Awards are taken from held money of their giver, oldest pool first, and then from what the giver has on account.
    They cannot exceed both: takers are paid with the next pool, and debts of givers pay nobody. The rest of what is
    held follows the outcome.

    Args:
        reference: ID of the case.
        reason: of the decision, in words.
        same: whether two names are those of one person.

    Raises:
        LedgerConflict: the case is unknown or decided; an award is not from a contributor of the case to somebody else,
            or awards exceed what their giver has; or a pool has rules of approval, and who decides is who opened the
            case.
        LedgerBroken: the ledger does not verify.
    """
    with ledger.writing() as session:
        case, seal = open_case(session, ledger.witness, reference), ledger.witness
        _check_awards(case, awards)
        others = {name: [other for other in ids if other != case.id] for name, ids in open_cases(session, seal).items()}
        places, book = _places(session, case, ledger)
        _check_covered(case, awards, places, book)
        kept: list[str] = []
        entries = _entries(case, places, outcome, awards, others, kept)
        if same(actor, case.acts[0].actor) and any(places[key].approved for key in entries):
            raise LedgerConflict(
                f"money of a pool with rules of approval is moved by two people, and {actor!r} opened case {case.id}. "
                "Nothing was posted; somebody else decides it (`--by NAME`, or ROYALTY_ACTOR)"
            )
        posted = {key: identity_of(key, "decision", case.id) for key in entries}
        body: dict[str, Any] = {
            "outcome": outcome,
            "reason": reason,
            "awards": [asdict(award) for award in awards],
            "evidence": [asdict(file) for file in evidence],
            "statements": list(posted.values()),
            "kept": kept,
        }
        act = append(session, seal, "case", case.id, "decided", actor, body)
        terms = {"case": case.id, "opened": case.acts[0].hash, "decided": act.hash}
        for key, moves in entries.items():
            place = places[key]
            close_statement(
                session,
                book,
                place.pool,
                [entry_row(place.pool, move) for move in moves],
                id=posted[key],
                kind="decision",
                valuation=place.current.valuation,
                source=place.current.source,
                policy=store_policy(session, terms),
            )
        return Decided(Case.of([*case.acts, act]), tuple(posted.values()), tuple(kept))


def held_by(ledger: Ledger, case: Case) -> dict[tuple[str, str, str], int]:
    """What pools hold because of a case now: minor units by contributor, pool with period, and currency.

    Raises:
        LedgerBroken: the ledger does not verify.
    """
    with reading(ledger.engine) as session:
        places, _ = _places(session, case, ledger)
        return {
            (name, " ".join(filter(None, (place.pool.name, place.pool.period))), place.pool.currency): held
            for place in places.values()
            for name in case.contributors
            if (held := place.held(case, name))
        }


def _check_awards(case: Case, awards: Sequence[Award]) -> None:
    for award in awards:
        if award.giver not in case.contributors or award.giver == award.taker or award.minor <= 0:
            raise LedgerConflict(
                "an award is an amount above zero from a contributor of the case to somebody else, got "
                f"{formatted(award.minor, award.currency)} from {award.giver!r} to {award.taker!r}; the case is about "
                f"{', '.join(case.contributors)}"
            )


def _check_covered(case: Case, awards: Sequence[Award], places: Mapping[str, Place], book: Book) -> None:
    """Check that the awards of each giver and currency are in what the case holds and in what is on account.

    Raises:
        LedgerConflict: they are not.
    """
    given: dict[tuple[str, str], int] = defaultdict(int)
    for award in awards:
        given[award.currency, award.giver] += award.minor
    for (currency, giver), wanted in given.items():
        held = sum(place.held(case, giver) for place in places.values() if place.pool.currency == currency)
        account = max(book.accounts[currency, giver], 0)
        if wanted > held + account:
            money = [formatted(amount, currency) for amount in (wanted, held, account)]
            raise LedgerConflict(
                f"awards are paid from money that their giver has: {money[0]} would be taken from {giver!r}, of whom "
                f"case {case.id} holds {money[1]}, and who has {money[2]} on account. Nothing was posted; award at "
                f"most {formatted(held + account, currency)}"
            )


def _places(session: Session, case: Case, ledger: Ledger) -> tuple[dict[str, Place], Book]:
    """The pools with money of the case's contributors, in the order of their last divisions.

    Returns:
        The pools; and the head of the chain, with balances of all accounts.
    """
    book, places = Book(seal=ledger.witness), dict[str, Place]()
    lines: dict[str, list[Any]] = defaultdict(list)
    posted = list[StatementRow]()
    for page in verified_pages(session, ledger.kept()):
        row = page.statement
        posted.append(row)
        book.head, book.position = row.hash, row.position
        book.add_accounts(page)
        lines[row.pool] += [line for line in page.lines if line.contributor in case.contributors]
        if row.kind in FOLLOWED and page.pool is not None:
            places.pop(row.pool, None)
            terms = page.policy.terms if page.policy is not None else {}
            places[row.pool] = Place(
                page.pool, row, holds=_holds(terms), rates=_rates(terms), approved="approval" in terms
            )
    check_evidence(session, posted, book.head, ledger.witness)
    for key, place in places.items():
        place.money = money_by_contributor(lines[key])
    return {key: place for key, place in places.items() if place.money}, book


def _rates(terms: Mapping[str, Any]) -> dict[str, Fraction]:
    rates = {name: own.get("withholding") for name, own in terms.get("personal", {}).items()}
    return {name: Fraction(rate) for name, rate in rates.items() if rate is not None}


def _holds(terms: Mapping[str, Any]) -> dict[str, list[str]]:
    """Why a division holds money, by contributor."""
    holds = {name: list(reasons) for name, reasons in terms.get("holds", {}).items()}
    for kind in OTHERS:
        for name in terms.get(kind, ()):
            holds.setdefault(name, []).append(kind)
    return holds


def _entries(
    case: Case,
    places: Mapping[str, Place],
    outcome: Outcome,
    awards: Sequence[Award],
    others: Mapping[str, Sequence[str]],
    kept: list[str],
) -> dict[str, list[Entry]]:
    """The entries of the decision by the key of their pool; sentences on what stays held are added to `kept`."""
    moves: dict[str, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    held: dict[tuple[str, str], int] = {}
    for key, place in places.items():
        for name in case.contributors:
            amount = place.held(case, name)
            if amount > 0:
                held[key, name] = amount
    for award in awards:
        _give(award, places, held, moves)
    for (key, name), rest in held.items():
        place = places[key]
        why = [f"case {other}" for other in others.get(name, ())]
        if outcome == "release":
            why += [reason for reason in place.holds.get(name, ()) if not reason.startswith("case ")]
        if rest and why:
            pool = " ".join(filter(None, (place.pool.name, place.pool.period)))
            kept.append(f"{pool} still holds {formatted(rest, place.pool.currency)} of {name}: {', '.join(why)}")
        elif rest and outcome == "release":
            for move in released(name, "", rest, place.rates.get(name)):
                moves[key][move.kind, name] += move.amount_minor
        elif rest:
            moves[key]["held-award", name] -= rest
            moves[key]["reserve-award", HOUSE] += rest
    return {
        key: [
            Entry(kind, name, returned(places[key].current.valuation, case.id), amount)
            for (kind, name), amount in amounts.items()
            if amount
        ]
        for key, amounts in moves.items()
    }


def _give(
    award: Award,
    places: Mapping[str, Place],
    held: dict[tuple[str, str], int],
    moves: Mapping[str, dict[tuple[str, str], int]],
) -> None:
    """Move an award out of what is held, and the rest of it out of the account of its giver."""
    pools = [
        key
        for key, place in places.items()
        if place.pool.currency == award.currency and award.giver in place.money
    ]  # fmt: skip
    rest = award.minor
    for key in pools:
        taken = min(rest, held.get((key, award.giver), 0))
        if taken:
            held[key, award.giver] -= taken
            moves[key]["held-award", award.giver] -= taken
            moves[key]["award", award.taker] += taken
            rest -= taken
    if rest:
        moves[pools[-1]]["award", award.giver] -= rest
        moves[pools[-1]]["award", award.taker] += rest

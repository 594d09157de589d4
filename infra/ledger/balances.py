"""The balance of each contributor in each currency, and its movements, over all pools."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from royalty.infra.ledger.book import Page
from royalty.infra.ledger.change import Money, money_by_contributor
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import HOUSE
from royalty.infra.ledger.verification import FOLLOWED, verified_pages
from royalty.infra.stores.database import reading


@dataclass(frozen=True)
class Balance:
    """Money of a contributor in one currency, in minor units, over all pools.

    `earned` is the sum of `paid`, `withheld`, `held`, `unclaimed` and `carried`, less `owed`.

    Attributes:
        earned: all that divisions, corrections and decisions gave, less what they took.
        paid: paid out.
        withheld: withheld from payments as tax.
        held: waiting for the end of a case or for a check.
        unclaimed: waiting for an account to pay to.
        carried: on the account, for the next payout.
        owed: to be deducted from the next payouts.
    """

    earned: int = 0
    paid: int = 0
    withheld: int = 0
    held: int = 0
    unclaimed: int = 0
    carried: int = 0
    owed: int = 0


@dataclass(frozen=True)
class Movement:
    """What one statement moved for a contributor.

    Attributes:
        day: of posting, YYYY-MM-DD.
        kind: of the statement; `replacement` for a division that reverses an earlier one of the pool.
        money: change of what is paid, withheld, held and on account.
        converted: currency and rate at which a payment was made in another currency; None in the pool's.
    """

    statement: str
    day: str
    pool: str
    kind: str
    currency: str
    money: Money
    converted: tuple[str, str] | None = None


@dataclass
class Accounts:
    """Balances and movements of contributors.

    Attributes:
        movements: by contributor and currency, in the order of posting.
        unclaimed: by pool with period, contributors whose held money waits for an account to pay to.
    """

    movements: dict[tuple[str, str], list[Movement]] = field(default_factory=lambda: defaultdict(list))
    unclaimed: dict[str, set[str]] = field(default_factory=dict)

    def balance(self, contributor: str, currency: str, *, before: str = "9999") -> Balance:
        """The balance at the beginning of a day.

        Args:
            before: YYYY-MM-DD, or the start of it; by default the balance is that after all movements.
        """
        moved = [move for move in self.movements.get((contributor, currency), ()) if move.day < before]
        whole, waiting = Money(), dict[str, int]()
        for move in moved:
            whole += move.money
            waiting[move.pool] = waiting.get(move.pool, 0) + move.money.held
        unclaimed = sum(amount for pool, amount in waiting.items() if contributor in self.unclaimed.get(pool, ()))
        return Balance(
            earned=whole.due,
            paid=whole.paid,
            withheld=whole.withheld,
            held=whole.held - unclaimed,
            unclaimed=unclaimed,
            carried=max(whole.account, 0),
            owed=max(-whole.account, 0),
        )

    def balances(self) -> dict[tuple[str, str], Balance]:
        """The present balance of everybody, by contributor and currency."""
        return {key: self.balance(*key) for key in sorted(self.movements)}


def accounts_of(ledger: Ledger, contributor: str | None = None) -> Accounts:
    """Read the movements of all contributors, or of one, from the verified ledger.

    Raises:
        LedgerBroken: the ledger does not verify.
    """
    with reading(ledger.engine) as session:
        return _accounts(verified_pages(session, ledger.kept()), contributor)


def _accounts(pages: Iterable[Page], contributor: str | None) -> Accounts:
    accounts = Accounts()
    rates: dict[str, dict[str, tuple[str, str]]] = {}
    for page in pages:
        if page.pool is None:
            continue
        pool = " ".join(filter(None, (page.pool.name, page.pool.period)))
        terms = page.policy.terms if page.policy is not None else {}
        if page.statement.kind in FOLLOWED:
            rates[pool] = {name: (unit, rate) for name, (unit, rate) in terms.get("converted", {}).items()}
            accounts.unclaimed[pool] = set(terms.get("unpayable", ()))
        lines = [line for line in page.lines if contributor is None or line.contributor == contributor]
        for name, money in money_by_contributor(lines).items():
            if name == HOUSE or money == Money():
                continue
            accounts.movements[name, page.pool.currency].append(
                Movement(
                    statement=page.statement.id,
                    day=page.statement.created_at[:10],
                    pool=pool,
                    kind="replacement" if page.statement.replaces else page.statement.kind,
                    currency=page.pool.currency,
                    money=money,
                    converted=rates.get(pool, {}).get(name) if money.paid else None,
                )
            )
    return accounts

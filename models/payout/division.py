"""From credit to money: exact arithmetic on integer minor units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from numbers import Real
from typing import Literal

from royalty.models.base.arrays import as_number, as_whole
from royalty.models.base.errors import InputError, by_name
from royalty.models.payout.apportionment import bounded_shares, largest_remainder
from royalty.models.payout.policies import POLICIES, Credit, PolicyName

Negative = Literal["zero", "carry", "refuse"]


@dataclass(frozen=True)
class Terms:
    """By which rules a pool is divided; those of the defaults change nothing.

    Attributes:
        policy: what a contributor's credit weighs.
        negative: what a negative weight does: nothing, a debt of as much as a positive one would earn, or an error.
        floor: least share of the pool, in [0, 1], of a contributor whose weight is positive.
        cap: largest share of the pool, in [floor, 1], of any contributor; the rest goes to the others.
        minimum: smallest payment in minor units; less is carried over to the next pool.
        disputed: contributors whose money is held.
        unpayable: contributors without a payee in the currency of the pool, whose money is held too.
    """

    policy: PolicyName = "proportional"
    negative: Negative = "zero"
    floor: Fraction = Fraction(0)
    cap: Fraction = Fraction(1)
    minimum: int = 0
    disputed: frozenset[str] = frozenset()
    unpayable: frozenset[str] = frozenset()

    def description(self, money: Callable[[int], str]) -> str:
        """The sentences that a report prints about them; `money` formats minor units."""
        sentences = [POLICIES[self.policy].description, NEGATIVE[self.negative]]
        if self.floor > 0:
            sentences.append(f"Whoever is paid at all has {float(self.floor):.4g} of the pool at least.")
        if self.cap < 1:
            sentences.append(
                f"Nobody has more than {float(self.cap):.4g} of the pool: the excess goes to the others, and what "
                "cannot be placed stays in reserve."
            )
        if self.minimum > 0:
            sentences.append(f"Less than {money(self.minimum)} is not paid but carried over to the next pool.")
        if self.disputed:
            sentences.append(f"In dispute, and held: {', '.join(sorted(self.disputed))}.")
        if self.unpayable:
            sentences.append(f"Without a payee in this currency, and held: {', '.join(sorted(self.unpayable))}.")
        sentences.append(
            "Amounts are rounded to the smallest unit of the currency by the largest remainder, so that they sum to "
            "the pool exactly."
        )
        return " ".join(sentences)


NEGATIVE: dict[Negative, str] = {
    "zero": "Contributors with zero or negative credit receive nothing and owe nothing.",
    "carry": "Negative credit is a debt of as much as positive credit of that size would earn. It is taken off the "
    "contributor's next payments and stays in reserve.",
    "refuse": "Negative credit of anybody would have stopped the payout.",
}


@dataclass(frozen=True)
class Settlement:
    """What a contributor's share of a pool becomes, in minor units; nothing but `account` is ever negative.

    `amount`, `held`, `carried` and `taken` sum to the share and what was brought from an account in credit.

    Attributes:
        share: of this pool, between floor and cap.
        amount: paid now.
        held: kept while there is a dispute.
        carried: too little to be paid now, and left on the account.
        taken: kept for what was owed.
        claims: by how much what they owe the pool has changed.
        debt: still owed.
        account: by how much the account, what is carried less what is owed, has changed.
        reasons: why another amount is paid than the policy alone gives.
    """

    share: int
    amount: int
    held: int
    carried: int
    taken: int
    claims: int
    debt: int
    account: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Division:
    """What becomes of a pool, in minor units.

    All that is paid, held, carried and in reserve sums to the pool and what was brought from accounts in credit.

    Attributes:
        settlements: for each contributor, highest credit first; shares are in the order of the policy's weights, and
            where these are equal, in that of credit.
        reserve: nobody's: what the cap left over, and what was taken for debts.
    """

    settlements: dict[str, Settlement]
    reserve: int


def divide_pool(
    pool: int,
    credits: Mapping[str, Credit | Sequence[float]],
    terms: Terms | None = None,
    brought: Mapping[str, int] | None = None,
) -> Division:
    """Divide a pool by credit, to the last cent.

    Shares are in proportion to the positive weights of the policy, between floor and cap. What is on a contributor's
    account is paid out with the share; a debt is taken off both. The rest is held if it is disputed, and carried
    over if it is less than the minimum.

    Args:
        pool: a whole number of minor units, such as cents; not negative.
        credits: finite credit and interval of each contributor, in any unit; higher is more valuable. A `Credit`, or
            its value, low and high end as three numbers.
        terms: by default in proportion to positive credit, and nothing else.
        brought: minor units on contributors' accounts from earlier pools; negative is owed by them.

    Returns:
        A settlement for each contributor in minor units, highest credit first, and what is left in reserve. Rounding
        is by the largest remainder, so that all of it sums to the pool.

    Raises:
        InputError: a pool that is negative or not whole; credit that is not finite, or not within a finite interval; no
            positive weight; a negative one where terms refuse it; a floor that the pool does not suffice for; floor and
            cap that are no shares, or crossed; a dispute of nobody.

    Examples:
        100.00 euros by the credits of three contributors, each with the ends of its interval:

        >>> import royalty
        >>> credits = {"Ada": (2.0, 1.5, 2.5), "Mary": (1.0, 0.5, 1.5), "Noise": (-0.5, -1.0, 0.0)}
        >>> division = royalty.divide_pool(100_00, credits)
        >>> {name: settlement.amount for name, settlement in division.settlements.items()}
        {'Ada': 6667, 'Mary': 3333, 'Noise': 0}
        >>> division.reserve
        0
    """
    pool, terms = as_whole(pool, "pool"), Terms() if terms is None else terms
    _check_kinds(credits, terms)
    brought = {name: as_whole(account, f"brought[{name!r}]") for name, account in (brought or {}).items()}
    table = {name: _as_credit(given, name) for name, given in credits.items()}
    _check(pool, table, terms)
    ranked = dict(sorted(table.items(), key=lambda item: -item[1].value))  # so that equal weights round in order
    weights = POLICIES[terms.policy].weigh(ranked)
    payees = _payees(weights, terms)
    low, high = int(terms.floor * pool), int(terms.cap * pool)
    worth = pool / sum((weights[name] for name in payees), Fraction(0))  # minor units of a unit of weight
    bounded = bounded_shares(pool, list(weights.values()), low=low, high=high)
    settlements = {}
    for (name, weight), between, share in zip(weights.items(), bounded, largest_remainder(bounded), strict=True):
        reasons = []
        if between == high < worth * weight:
            reasons.append("lowered to the cap")
        if between == low > worth * weight and name in payees:
            reasons.append("raised to the floor")
        fine = int(-weight * worth) if weight < 0 and terms.negative == "carry" else 0
        settlements[name] = _settle(share, fine, brought.get(name, 0), name, terms, reasons)
    placed = sum(settlement.share - settlement.taken for settlement in settlements.values())
    return Division(settlements, reserve=pool - placed)


def _check_kinds(credits: object, terms: object) -> None:
    if not hasattr(credits, "items"):
        raise InputError(
            f"`credits` has a name for each contributor; got a {type(credits).__name__}. Give a dictionary from "
            "names to (value, low, high)"
        )
    if not isinstance(terms, Terms):
        raise InputError(f"`terms` is a `Terms`; got a {type(terms).__name__}. Give `royalty.Terms(...)`")
    by_name(terms.policy, POLICIES, "policy")
    by_name(terms.negative, NEGATIVE, "treatment of negative credit")
    for name in ("floor", "cap"):
        share = getattr(terms, name)
        if not isinstance(share, Real | Decimal):
            raise InputError(f"`{name}` is a share of the pool, a number from 0 to 1; got {share!r}. Give a number")


def _as_credit(given: Credit | Sequence[float], name: str) -> Credit:
    if isinstance(given, Credit):
        return given
    try:
        value, low, high = given
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a pool is divided by credits with their intervals, three numbers each; {name!r} has {given!r}. Give "
            "(value, low, high)"
        ) from error
    return Credit(*(as_number(number, f"credits[{name!r}]") for number in (value, low, high)))


def _settle(share: int, fine: int, account: int, name: str, terms: Terms, reasons: list[str]) -> Settlement:
    disputed, unpayable = name in terms.disputed, name in terms.unpayable
    waits = disputed or unpayable
    earned, owed = share + max(account, 0), fine + max(-account, 0)
    taken, rest, debt = min(owed, earned), max(earned - owed, 0), max(owed - earned, 0)
    small = not waits and 0 < rest < terms.minimum
    carried = rest if small else 0
    facts = {
        "with what earlier pools carried over": account > 0,
        "less what was owed": taken > 0,
        "still in debt": debt > 0,
        "in dispute, held": disputed,
        "without a payee in this currency, held": unpayable,
        "below the minimum, carried over": small,
    }
    return Settlement(
        share=share,
        amount=0 if waits or small else rest,
        held=rest if waits else 0,
        carried=carried,
        taken=taken,
        claims=debt - max(-account, 0),
        debt=debt,
        account=carried - debt - account,
        reasons=(*reasons, *(fact for fact, holds in facts.items() if holds)),
    )


def _check(pool: int, credits: Mapping[str, Credit], terms: Terms) -> None:
    if pool < 0:
        raise InputError(f"a pool is not negative, got {pool} minor units")
    for name, credit in credits.items():
        if not (isfinite(credit.low) and isfinite(credit.high) and credit.low <= credit.value <= credit.high):
            raise InputError(
                f"a pool is divided by finite credits within their intervals, and {name!r} has {credit.value} in "
                f"{credit.low} to {credit.high}; estimate the credit anew"
            )
    if not 0 <= terms.floor <= terms.cap <= 1:
        raise InputError(
            f"floor and cap are shares of the pool, the floor not above the cap; got {float(terms.floor):.4g} and "
            f"{float(terms.cap):.4g}"
        )
    if unknown := sorted(terms.disputed - credits.keys()):
        raise InputError(
            f"money is held for contributors in dispute, and {', '.join(map(repr, unknown))} contributed nothing; "
            f"there are {', '.join(credits)}"
        )


def _payees(weights: Mapping[str, Fraction], terms: Terms) -> set[str]:
    """Whose weight is positive."""
    negative = [name for name, weight in weights.items() if weight < 0]
    if negative and terms.negative == "refuse":
        raise InputError(
            f"a pool whose terms refuse negative credit is not divided, and that of {', '.join(negative)} is negative; "
            "look into their images, or choose `negative: zero` or `negative: carry`"
        )
    payees = {name for name, weight in weights.items() if weight > 0}
    if not payees:
        raise InputError(
            f"the policy {terms.policy!r} pays for positive credit, and none of the {len(weights)} contributors has any"
            f"{' that is certain' if terms.policy == 'lower-bound' else ''}; measure more coalitions, or train the "
            "generator longer, before paying"
        )
    if terms.floor * len(payees) > 1:
        raise InputError(
            f"a floor is paid to everybody who is paid at all, and {len(payees)} times {float(terms.floor):.4g} is "
            f"more than the pool; lower it to {1 / len(payees):.4g} or less"
        )
    return payees

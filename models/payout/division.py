"""Division of a pool of money by credit, with exact arithmetic on integer minor units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from numbers import Real
from typing import Literal, get_args

from royalty.models.base.arrays import as_number, as_whole
from royalty.models.base.collecting import uncollected
from royalty.models.base.errors import InputError, by_name
from royalty.models.data.teams import people
from royalty.models.payout.apportionment import bounded_shares, largest_remainder, whole_weights
from royalty.models.payout.equal import EqualBy, equal_parts
from royalty.models.payout.policies import POLICIES, Credit, PolicyName
from royalty.models.payout.teams import shares_of_people

Negative = Literal["zero", "carry", "refuse"]


@dataclass(frozen=True)
class Personal:
    """Terms of one contributor, which follow from where the payee lives and from tax forms.

    Attributes:
        minimum: smallest payment in minor units; None: that of all.
        reserve: share of each payment, in [0, 1), that stays on the account until the next pool.
        withholding: share of each payment, in [0, 1], that is withheld as tax.
    """

    minimum: int | None = None
    reserve: Fraction = Fraction(0)
    withholding: Fraction = Fraction(0)


STANDARD = Personal()


@dataclass(frozen=True)
class Terms:
    """The rules by which a pool is divided; by default, in proportion to positive credit.

    Attributes:
        policy: the rule that converts credit to weights.
        negative: the effect of a negative weight: none ("zero"), a debt as large as the payment for a positive weight
            of that size ("carry"), or an error ("refuse").
        floor: smallest share of the pool, in [0, 1], of a contributor with positive weight.
        cap: largest share of the pool, in [floor, 1], of any contributor; the excess goes to the others.
        minimum: smallest payment in minor units; smaller amounts are carried over to the next pool.
        disputed: contributors whose payments are held.
        unpayable: contributors without a payee in the currency of the pool; their payments are held too.
        confusable: contributors whose name looks like that of another payee; likewise.
        equal_share: fraction of the pool, in [0, 1], that is divided equally, whatever the credit; the policy divides
            the rest.
        equal_by: whether that fraction is equal for each contributor, or for each image.
        holds: contributors whose payments are held for other reasons, and these reasons, such as `case 1f0c`.
        personal: terms of single contributors, which replace those of all.
    """

    policy: PolicyName = "proportional"
    negative: Negative = "zero"
    floor: Fraction = Fraction(0)
    cap: Fraction = Fraction(1)
    minimum: int = 0
    disputed: frozenset[str] = frozenset()
    unpayable: frozenset[str] = frozenset()
    confusable: frozenset[str] = frozenset()
    equal_share: Fraction = Fraction(0)
    equal_by: EqualBy = "contributor"
    holds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    personal: Mapping[str, Personal] = field(default_factory=dict)

    def description(self, money: Callable[[int], str]) -> str:
        """The terms in sentences; `money` formats minor units."""
        return " ".join(self.sentences(money))

    def sentences(self, money: Callable[[int], str]) -> list[str]:
        """What `description` joins."""
        policy = POLICIES[self.policy]
        sentences = [policy.description, NEGATIVE[self.negative].format(unpaid=policy.unpaid)]
        if self.equal_share > 0:
            sentences.insert(
                0,
                f"{float(self.equal_share):.4g} of the pool is divided equally, whatever the credit: the same for each "
                f"{self.equal_by}. The rest is divided by credit.",
            )
        if self.floor > 0:
            sentences.append(f"Every paid contributor receives at least {float(self.floor):.4g} of the pool.")
        if self.cap < 1:
            sentences.append(
                f"No contributor receives more than {float(self.cap):.4g} of the pool. The excess goes to the others; "
                "what they cannot receive stays in reserve."
            )
        if self.minimum > 0:
            sentences.append(f"Amounts below {money(self.minimum)} are carried over to the next pool.")
        if self.disputed:
            sentences.append(f"Disputed and held: {', '.join(sorted(self.disputed))}.")
        if self.unpayable:
            sentences.append(f"Without a payee in this currency and held: {', '.join(sorted(self.unpayable))}.")
        if self.confusable:
            sentences.append(f"With a name that looks like another's and held: {', '.join(sorted(self.confusable))}.")
        if self.holds:
            held = "; ".join(f"{name} ({', '.join(reasons)})" for name, reasons in sorted(self.holds.items()))
            sentences.append(f"Held until it is settled: {held}.")
        sentences.append(
            "Amounts are rounded to the smallest unit of the currency by the largest remainder method, so that they "
            "sum to the pool exactly."
        )
        return sentences


NEGATIVE: dict[Negative, str] = {
    "zero": "{unpaid} receive nothing and owe nothing.",
    "carry": "Negative credit is a debt as large as the payment for positive credit of that size. It is deducted from "
    "the contributor's next payments and stays in reserve.",
    "refuse": "Negative credit of any contributor would have stopped the payout.",
}


CO_AUTHOR = "from works with co-authors"
"""Reason of a payment to a member of a team who has no works alone."""
DEPARTED = "no longer in the credit table"
"""Reason of a payment to a contributor without credit, of money that earlier pools left."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The use of a contributor's share of a pool, in minor units.

    `amount`, `withheld`, `held`, `carried` and `taken` sum to the share plus a positive balance of the account. Only
    `claims` and `account` can be negative.

    Attributes:
        share: share of this pool, between floor and cap.
        amount: paid now.
        held: held because of a dispute or a missing payee.
        carried: below the minimum, or in the contributor's reserve, and kept on the account.
        taken: deducted to repay debt.
        claims: change of the debt to the pool.
        debt: remaining debt.
        account: change of the account balance, which is the amount carried over minus the debt.
        reasons: why the amount differs from the division by the policy alone.
        withheld: tax withheld from the payment; `amount` is what remains.
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
    withheld: int = 0


@dataclass(frozen=True)
class Division:
    """The use of a whole pool, in minor units.

    The amounts paid, held, carried over and in reserve sum to the pool plus the positive account balances.

    Attributes:
        settlements: the settlement of each contributor, highest credit first. Shares have the order of the policy's
            weights; equal weights are rounded in the order of credit. Then those without credit, by name.
        reserve: not assigned to a contributor: the excess above the cap, and repaid debt.
        shares: share of each contributor with credit, in which those of teams are not yet divided among their members.
    """

    settlements: dict[str, Settlement]
    reserve: int
    shares: dict[str, int] = field(default_factory=dict)


@uncollected()
def divide_pool(
    pool: int,
    credits: Mapping[str, Credit | Sequence[float]],
    terms: Terms | None = None,
    brought: Mapping[str, int] | None = None,
    images: Mapping[str, int] | None = None,
) -> Division:
    """Divide a pool by credit, exact to the minor unit.

    Shares are in proportion to the positive weights of the policy, between floor and cap; an equal share of the terms
    is divided by contributor or by image first. A positive account balance is
    paid out with the share, and a debt is deducted from both. The rest is held if the contributor is disputed or has no
    payee, and carried over if it is below the minimum.

    Args:
        pool: a whole number of minor units, such as cents; not negative.
        credits: finite credit and interval of each contributor, in any unit; higher is more valuable. A `Credit`, or
            its value, low end and high end as three numbers.
        terms: the rules of the division; by default, in proportion to positive credit.
        brought: account balances of contributors from earlier pools, in minor units; a negative balance is a debt.
            Those without credit in this pool are paid a positive balance; a debt of theirs is left as it is.
        images: number of licensed images of each contributor, if the terms divide a part by image.

    Returns:
        A settlement for each contributor, highest credit first, and the reserve, in minor units. Shares are rounded by
        the largest remainder method, so that they sum to the pool unless the cap prevents it.

    Raises:
        InputError: the pool is negative or not whole; a credit is not finite or outside its interval; no weight is
            positive; a weight is negative and the terms refuse it; the pool is too small for the floor; floor and cap
            are not shares, or the floor is above the cap; a disputed contributor is unknown; images are to be paid for
            and their numbers are missing.

    Examples:
        Divide 100.00 euros by the credits of three contributors, each with the ends of its interval:

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
    table = {name: _as_credit(credit, name) for name, credit in credits.items()}
    known = set(people(table))
    departed = sorted(name for name, account in brought.items() if account > 0 and name not in known)
    _check(pool, table, terms, departed)
    # Sorted, so that equal weights are rounded in the order of credit.
    ranked = dict(sorted(table.items(), key=lambda item: -item[1].value))
    weights = POLICIES[terms.policy].weigh(ranked)
    scaled = whole_weights(list(weights.values()))
    merit = sum(weight for weight in scaled if weight > 0)
    _check_weights(weights, terms, merit)
    wanted = _wanted(scaled, merit, list(weights), terms, images)
    whole = sum(wanted)  # the pool divided by this is the value of a unit
    _check_floor(sum(part > 0 for part in wanted), terms)
    low, high = int(terms.floor * pool), int(terms.cap * pool)
    shares = bounded_shares(pool, wanted, low=low, high=high)
    at_cap, at_floor = shares.equals(high), shares.equals(low)
    by_credit = 1 - Fraction(terms.equal_share)
    whole_shares = dict(zip(weights, largest_remainder(shares), strict=True))
    debts, reasons_of = dict[str, int](), dict[str, tuple[str, ...]]()
    reasons: tuple[str, ...]
    for index, name in enumerate(weights):
        weight, part, reasons = scaled[index], wanted[index], ()
        if at_cap[index] and pool * part > high * whole:
            reasons += ("lowered to the cap",)
        if at_floor[index] and 0 < pool * part < low * whole:
            reasons += ("raised to the floor",)
        reasons_of[name] = reasons
        if weight < 0 and terms.negative == "carry" and merit > 0:
            debts[name] = -weight * pool * by_credit.numerator // (merit * by_credit.denominator)
    own, own_debts = shares_of_people(whole_shares), shares_of_people(debts)
    named = terms.disputed, terms.unpayable, terms.confusable, terms.holds, terms.personal
    special = {*brought, *own_debts}.union(*named)
    settlements: dict[str, Settlement] = {}
    for name, share in own.items():
        reasons = reasons_of.get(name, (CO_AUTHOR,))
        if name in special or 0 < share < terms.minimum:
            debt, account = own_debts.get(name, 0), brought.get(name, 0)
            settlements[name] = _settle(share, debt, account, name, terms, reasons)
        else:
            settlements[name] = Settlement(share, share, 0, 0, 0, 0, 0, 0, reasons)
    for name in departed:
        settlements[name] = _settle(0, 0, brought[name], name, terms, (DEPARTED,))
    assigned = sum(settlement.share - settlement.taken for settlement in settlements.values())
    return Division(settlements, reserve=pool - assigned, shares=whole_shares)


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
    by_name(terms.equal_by, dict.fromkeys(get_args(EqualBy)), "way of sharing equally")
    for name in ("floor", "cap", "equal_share"):
        share = getattr(terms, name)
        if not isinstance(share, Real | Decimal):
            raise InputError(f"`{name}` is a share of the pool, a number from 0 to 1; got {share!r}. Give a number")


def _as_credit(credit: Credit | Sequence[float], name: str) -> Credit:
    if isinstance(credit, Credit):
        return credit
    try:
        value, low, high = credit
    except (TypeError, ValueError) as error:
        raise InputError(
            f"each credit is three numbers, (value, low, high); {name!r} has {credit!r}. Pass the credit and the ends "
            "of its interval"
        ) from error
    return Credit(*(as_number(number, f"credits[{name!r}]") for number in (value, low, high)))


def _settle(share: int, new_debt: int, account: int, name: str, terms: Terms, reasons: tuple[str, ...]) -> Settlement:
    disputed, unpayable, confusable = name in terms.disputed, name in terms.unpayable, name in terms.confusable
    holds, own = terms.holds.get(name, ()), terms.personal.get(name, STANDARD)
    is_held = disputed or unpayable or confusable or bool(holds)
    earned, owed = share + max(account, 0), new_debt + max(-account, 0)
    taken, rest, debt = min(owed, earned), max(earned - owed, 0), max(owed - earned, 0)
    small = not is_held and 0 < rest < (terms.minimum if own.minimum is None else own.minimum)
    payable = 0 if is_held or small else rest
    reserve = int(payable * own.reserve)
    tax = int((payable - reserve) * own.withholding)
    carried = rest if small else reserve
    remarks = {
        "with what earlier pools carried over": account > 0 and not small,
        "less what was owed": taken > 0,
        "still in debt": debt > 0,
        "in dispute, held": disputed,
        "without a payee in this currency, held": unpayable,
        "with a name that looks like another payee's, held": confusable,
        f"{', '.join(holds)}, held": bool(holds),
        "below the minimum, carried over": small,
        f"{float(own.reserve):.4g} of it kept in reserve": reserve > 0,
        f"{float(own.withholding):.4g} of the payment withheld as tax": tax > 0,
    }
    return Settlement(
        share=share,
        amount=payable - reserve - tax,
        held=rest if is_held else 0,
        carried=carried,
        taken=taken,
        claims=debt - max(-account, 0),
        debt=debt,
        account=carried - debt - account,
        reasons=(*reasons, *(remark for remark, applies in remarks.items() if applies)),
        withheld=tax,
    )


def _check(pool: int, credits: Mapping[str, Credit], terms: Terms, departed: Sequence[str]) -> None:
    if pool < 0:
        raise InputError(f"a pool is at least 0, got {pool} minor units; check its sign")
    for name, credit in credits.items():
        if not (isfinite(credit.low) and isfinite(credit.high) and credit.low <= credit.value <= credit.high):
            raise InputError(
                f"credits are finite and within finite intervals, and {name!r} has {credit.value} in {credit.low} to "
                f"{credit.high}; estimate the credit again"
            )
    if not 0 <= terms.equal_share <= 1:
        raise InputError(
            f"`equal_share` is a share of the pool, from 0 to 1; got {float(terms.equal_share):.4g}. Correct it"
        )
    if not 0 <= terms.floor <= terms.cap <= 1:
        raise InputError(
            f"floor and cap are shares of the pool, the floor not above the cap; got {float(terms.floor):.4g} and "
            f"{float(terms.cap):.4g}. Correct them"
        )
    if unknown := sorted(terms.disputed - set(people(credits)) - set(departed)):
        raise InputError(
            "disputed contributors must have credit in the pool, or money left from earlier ones, and "
            f"{', '.join(map(repr, unknown))} has none; there are {', '.join([*credits, *departed])}"
        )


def _wanted(
    weights: Sequence[int], merit: int, names: Sequence[str], terms: Terms, images: Mapping[str, int] | None
) -> list[int]:
    """What each is to receive without bounds, in any unit: equal parts, and the rest by positive weight."""
    positive = [max(weight, 0) for weight in weights]
    equal = Fraction(terms.equal_share)
    if not equal:
        return positive
    by_head = equal_parts(equal, names, terms.equal_by, images)
    per_weight = (1 - equal) / merit if merit else Fraction(0)
    return whole_weights([by_head[name] + per_weight * part for name, part in zip(names, positive, strict=True)])


def _check_weights(weights: Mapping[str, Fraction], terms: Terms, merit: int) -> None:
    """Check that the policy has somebody to pay, and nobody whom the terms refuse."""
    negative = [name for name, weight in weights.items() if weight.numerator < 0]
    if negative and terms.negative == "refuse":
        raise InputError(
            f"the terms refuse negative credit, and that of {', '.join(negative)} is negative; check their images, or "
            "choose `negative: zero` or `negative: carry`"
        )
    if not merit and (terms.equal_share < 1 or not weights):
        raise InputError(
            f"the policy {terms.policy!r} pays for positive credit, and none of the {len(weights)} contributors has any"
            f"{' that is certain' if terms.policy == 'lower-bound' else ''}; measure more coalitions, or train the "
            "generator longer, before paying"
        )


def _check_floor(payees: int, terms: Terms) -> None:
    if terms.floor * payees > 1:
        raise InputError(
            f"every paid contributor receives the floor, and {payees} times {float(terms.floor):.4g} is more than "
            f"the pool; lower it to {1 / payees:.4g} or less"
        )

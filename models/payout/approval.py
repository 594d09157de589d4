"""When a payout waits for a second person: above an amount, for a first payee, or for a changed account."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from royalty.models.data.names import look_the_same

NAMED = 10
"""Contributors that a reason names."""


@dataclass(frozen=True)
class ApprovalRules:
    """Which payouts wait for a second person.

    Attributes:
        above: minor units; payouts of more wait. None: no payout waits for its amount.
        first_payee: those that pay somebody who was never paid before.
        changed_account: those that pay somebody into another account than the last time.
    """

    above: int | None = None
    first_payee: bool = False
    changed_account: bool = False


def reasons_to_wait(
    rules: ApprovalRules,
    gets: Mapping[str, int],
    *,
    paid_before: Collection[str],
    moved: Collection[str],
    loosened: bool,
    money: Callable[[int], str],
) -> list[str]:
    """Why a payout waits for a second person; empty if it does not.

    Args:
        gets: minor units that each contributor is paid; others are left out.
        paid_before: contributors who were paid before.
        moved: contributors whose account is not the one that they were last paid into.
        loosened: the pool was last divided by other rules than these.
        money: formats minor units.
    """
    paid = {name: amount for name, amount in gets.items() if amount > 0}
    reasons, total = list[str](), sum(paid.values())
    if rules.above is not None and total > rules.above:
        reasons.append(f"it pays {money(total)}, which is above {money(rules.above)}")
    if rules.first_payee and (first := sorted(paid.keys() - set(paid_before))):
        reasons.append(f"it pays for the first time {_named(first)}")
    if rules.changed_account and (changed := sorted(paid.keys() & set(moved))):
        reasons.append(f"it pays into another account than the last time {_named(changed)}")
    if loosened:
        reasons.append("its rules of approval are not those that the pool was last divided by")
    return reasons


def same_person(one: str, other: str) -> bool:
    """Whether two names of people who approve are one to a reader, whatever their case, spaces and alphabet.

    Letters that look the same in capitals only, such as those of Latin B and Cyrillic Ve, are compared in capitals.
    """
    one, other = _plain(one), _plain(other)
    return any(look_the_same(case(one), case(other)) for case in (str, str.upper, str.casefold))


def _plain(name: str) -> str:
    joined = "".join(unicodedata.normalize("NFKC", name).split())
    return "".join(letter for letter in joined if unicodedata.category(letter) != "Cf")  # that nobody sees


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

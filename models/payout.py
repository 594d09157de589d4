"""From credit to money: exact arithmetic on integer minor units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from models.errors import InputError


@dataclass(frozen=True)
class Policy:
    """How credit becomes weights, and the sentence that a report prints about it."""

    name: str
    description: str


PROPORTIONAL = Policy(
    name="proportional",
    description=(
        "The pool is divided in proportion to positive credit. Contributors with zero or negative credit receive "
        "nothing and owe nothing. Amounts are rounded to the smallest unit of the currency by the largest remainder, "
        "so that they sum to the pool exactly."
    ),
)

POLICIES = {policy.name: policy for policy in (PROPORTIONAL,)}


def divide_pool(pool: int, credit: Mapping[str, float]) -> dict[str, int]:
    """Divide a pool in proportion to positive credit.

    Args:
        pool: minor units, not negative.
        credit: finite credit of each contributor; higher is more valuable.

    Returns:
        Minor units for each contributor: not negative, in the order of credit, summing to the pool.

    Raises:
        InputError: a negative pool, or no contributor with positive credit.
    """
    if pool < 0:
        raise InputError(f"a pool is not negative, got {pool} minor units")
    weights = {name: Fraction(max(value, 0.0)) for name, value in credit.items()}
    if not any(weights.values()):
        raise InputError(
            f"a pool is divided in proportion to positive credit, and none of the {len(credit)} contributors has any; "
            "measure more coalitions, or train the generator longer, before paying"
        )
    amounts = largest_remainder(pool, list(weights.values()))
    return dict(zip(weights, amounts, strict=True))


def largest_remainder(total: int, weights: Sequence[Fraction]) -> list[int]:
    """Integers in proportion to weights that sum to the total (Hamilton's method); ties go to the earlier."""
    whole = sum(weights, Fraction(0))
    shares = [total * weight / whole for weight in weights]
    floors = [int(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda i: (floors[i] - shares[i], -weights[i], i))
    for index in order[: total - sum(floors)]:
        floors[index] += 1
    return floors

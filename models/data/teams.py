"""Teams: co-authors of a work with weights, such as `a:2;b:1`. A team is credited as one contributor.

Its money is divided among its members by their weights. The name of a team lists them in alphabetical order, with
weights without a common divisor, so that it is the same however a row writes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from royalty.models.base.errors import InputError

SEPARATOR = ";"
"""Between the names of a cell. No name of one person has it."""
WEIGHTED = re.compile(r"(?P<name>.*\S)\s*:\s*(?P<weight>[0-9]{1,6})")
EXAMPLE = "`a:2;b:1`"


def team_of(where: str, parts: Sequence[str]) -> str | None:
    """The name of the team that the parts of a cell state; None if they are names without weights.

    Args:
        where: place of the cell, for the error.

    Raises:
        InputError: some of several names have a weight, and others none; a weight is zero; or a name occurs twice.
    """
    found = [match for part in parts if (match := WEIGHTED.fullmatch(part))]
    if len(parts) < 2 or not found:
        return None
    if len(found) < len(parts):
        raise InputError(
            f"{where}: all co-authors have weights, or none has, as in {EXAMPLE}; got {SEPARATOR.join(parts)!r}"
        )
    weights: dict[str, int] = {}
    for match in found:
        name, weight = match["name"], int(match["weight"])
        if name in weights or not weight:
            raise InputError(
                f"{where}: each co-author is listed once, with a whole weight above zero, as in {EXAMPLE}; got "
                f"{SEPARATOR.join(parts)!r}"
            )
        weights[name] = weight
    divisor = math.gcd(*weights.values())
    return SEPARATOR.join(f"{name}:{weights[name] // divisor}" for name in sorted(weights))


def members(contributor: str) -> dict[str, int]:
    """Members of a team and their weights; a person is the only member."""
    if SEPARATOR not in contributor:
        return {contributor: 1}
    parts = [WEIGHTED.fullmatch(part) for part in contributor.split(SEPARATOR)]
    weights = {part["name"]: int(part["weight"]) for part in parts if part}
    return weights if len(weights) == len(parts) else {contributor: 1}


def credited(cell: str) -> list[str]:
    """Who is credited for an image whose contributors are written as `a;b` (each alike), or as the team `a:2;b:1`."""
    names = [name.strip() for name in cell.split(SEPARATOR)]
    team = SEPARATOR.join(names)
    return [team] if len(members(team)) > 1 else list(dict.fromkeys(filter(None, names)))


def cell_of(names: Iterable[str]) -> str:
    """How the contributors of an image are written: `a;b`, or one team. A team beside others counts as its members."""
    contributors = sorted(set(names))
    return SEPARATOR.join(contributors if len(contributors) == 1 else sorted(people(contributors)))


def people(contributors: Iterable[str]) -> list[str]:
    """Everybody who is a contributor or a member of a team, each once, in the order of the contributors."""
    names: dict[str, None] = {}
    for contributor in contributors:
        if SEPARATOR in contributor:
            names.update(dict.fromkeys(members(contributor)))
        else:
            names[contributor] = None
    return list(names)

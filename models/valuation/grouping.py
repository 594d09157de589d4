"""Divide contributors among groups of about equal size, and keep them there when others come and go."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from royalty.models.base.errors import InputError


def assign_groups(
    sizes: Mapping[str, int], groups: int, *, seed: int = 0, kept: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Divide contributors among groups of about equal size: the largest first, each into the lightest group.

    This is the rule of longest processing time (Graham 1969): no group is heavier than 4/3 of the lightest possible
    heaviest one. Equal contributors are ordered by a hash of the seed and the name, so that names cannot be chosen to
    share a group.

    Contributors of an earlier division stay in their groups, however sizes changed since, and new ones join the
    lightest. The bound then no longer holds. Only if all members of a group have left, the smallest member of the
    heaviest group with several moves there.

    Args:
        sizes: number of images of each contributor, by name.
        groups: number of groups, at most that of contributors.
        seed: orders contributors with equal numbers of images.
        kept: earlier groups, by name; names without a size are ignored.

    Returns:
        Number of the group of each contributor, from 0, in the order of `sizes`. Every group has a member.

    Raises:
        InputError: more groups than contributors, no group, or a kept number that no group has.
    """
    if not 1 <= groups <= len(sizes):
        raise InputError(
            f"each group has a contributor: {len(sizes)} contributors make 1 to {len(sizes)} groups, got {groups}"
        )
    owner = {name: group for name, group in (kept or {}).items() if name in sizes}
    if outside := sorted(group for group in owner.values() if not 0 <= group < groups):
        raise InputError(f"kept groups are numbered 0 to {groups - 1}, got {outside[0]}; divide contributors anew")
    members: list[list[str]] = [[] for _ in range(groups)]
    loads = [0] * groups
    for name, group in owner.items():
        members[group].append(name)
        loads[group] += sizes[name]

    def rank(name: str) -> tuple[int, str]:
        """Largest first; equal ones in an order that their names do not choose."""
        return -sizes[name], sha256(f"{seed} {name}".encode()).hexdigest()

    for name in sorted(sizes.keys() - owner.keys(), key=rank):
        lightest = min(range(groups), key=lambda group: (bool(members[group]), loads[group], group))
        members[lightest].append(name)
        loads[lightest] += sizes[name]
    for empty in (group for group in range(groups) if not members[group]):
        heaviest = max((group for group in range(groups) if len(members[group]) > 1), key=lambda group: loads[group])
        moved = max(members[heaviest], key=rank)
        members[heaviest].remove(moved)
        members[empty].append(moved)
        loads[heaviest] -= sizes[moved]
        loads[empty] += sizes[moved]
    numbers = {name: group for group, names in enumerate(members) for name in names}
    return {name: numbers[name] for name in sizes}

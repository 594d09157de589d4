"""Groups of contributors are about equal, do not depend on the order of names, and keep their members."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.valuation.grouped import grouped_shapley
from royalty.models.valuation.grouping import assign_groups
from royalty.models.valuation.shapley import estimate_shapley


def loads(owner: dict[str, int], sizes: dict[str, int], groups: int) -> list[int]:
    return [sum(size for name, size in sizes.items() if owner[name] == group) for group in range(groups)]


@given(st.lists(st.integers(1, 50), min_size=4, max_size=40), st.integers(2, 4), st.integers(0, 9))
def test_no_group_is_heavier_than_the_mean_and_one_member(brought: list[int], groups: int, seed: int) -> None:
    sizes = {f"c{place}": size for place, size in enumerate(brought)}
    owner = assign_groups(sizes, groups, seed=seed)
    assert list(owner) == list(sizes)
    assert set(owner.values()) == set(range(groups))
    assert max(loads(owner, sizes, groups)) <= sum(brought) / groups + max(brought)
    assert assign_groups(dict(reversed(sizes.items())), groups, seed=seed) == owner


def test_the_largest_go_to_the_lightest_and_names_do_not_choose_their_group() -> None:
    assert assign_groups({"a": 7, "b": 5, "c": 4, "d": 3}, 2) == {"a": 0, "b": 1, "c": 1, "d": 0}
    equal = {f"c{place:02}": 1 for place in range(40)}
    assert len({tuple(assign_groups(equal, 2, seed=seed).values()) for seed in range(5)}) == 5


def test_members_stay_when_others_come_and_go() -> None:
    sizes = {f"c{place:02}": 1 + place % 5 for place in range(30)}
    owner = assign_groups(sizes, 4)
    later = {name: size for name, size in sizes.items() if name != "c07"} | {"new": 3}
    lightest = int(np.argmin(loads({**owner, "c07": -1}, sizes, 4)))
    moved = assign_groups(later, 4, kept=owner)
    assert moved == {**{name: owner[name] for name in sizes if name != "c07"}, "new": lightest}
    pair = {"a": 9, "b": 5, "c": 3, "d": 4}
    assert assign_groups(pair, 2, kept={"a": 0, "b": 0, "c": 0, "d": 0}) == {"a": 0, "b": 0, "c": 1, "d": 0}


def test_groups_of_one_member_each_are_credited_as_contributors_are() -> None:
    masks = (np.arange(1, 15)[:, None] >> np.arange(4) & 1).astype(bool)
    plain = estimate_shapley(masks, np.random.default_rng(0).normal(size=14), 0.0, 1.0)
    owner = list(assign_groups(dict.fromkeys("abcd", 2), 4).values())
    credit = grouped_shapley(plain, owner, [3.0, 0.0, 1.0, 2.0])
    for found, expected in ((credit.values, plain.values), (credit.stderr, plain.stderr)):
        assert found == pytest.approx(expected[owner])


def test_impossible_groups_are_refused() -> None:
    with pytest.raises(InputError, match="2 contributors make 1 to 2 groups, got 3"):
        assign_groups({"a": 1, "b": 1}, 3)
    with pytest.raises(InputError, match="numbered 0 to 1, got 4"):
        assign_groups({"a": 1, "b": 1}, 2, kept={"a": 4})

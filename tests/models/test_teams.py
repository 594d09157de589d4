"""Co-authors with weights: one name however they are written, and money to the smallest unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.data.listing import contributors_of
from royalty.models.data.teams import cell_of, credited, members, people
from royalty.models.payout.division import CO_AUTHOR, Terms, divide_pool
from royalty.models.payout.teams import shares_of_people


@pytest.mark.parametrize(
    ("cell", "contributors"),
    [
        ("a:2;b:1", ("a:2;b:1",)),
        (" b : 2 ; a:4 ", ("a:2;b:1",)),
        (["b:1", "a:2"], ("a:2;b:1",)),
        ("a;b", ("a", "b")),
        ("Studio:2", ("Studio:2",)),
        ("ann: a life", ("ann: a life",)),
    ],
)
def test_a_cell_names_people_or_one_team(cell: object, contributors: tuple[str, ...]) -> None:
    assert contributors_of("row 2", cell) == contributors


@pytest.mark.parametrize("cell", ["a:2;b", "a:0;b:1", "a:1;a:2"])
def test_weights_that_make_no_sense_are_refused(cell: str) -> None:
    with pytest.raises(InputError, match=r"row 2: .*`a:2;b:1`"):
        contributors_of("row 2", cell)


def test_who_is_credited_for_a_cell_and_how_a_cell_names_them() -> None:
    assert credited("a:2; b:1") == ["a:2;b:1"]
    assert credited("b; a;b; ") == ["b", "a"]
    assert cell_of(["a:2;b:1"]) == "a:2;b:1"
    assert cell_of(["cy", "a:2;b:1", "cy"]) == "a;b;cy", "weights of a team are lost beside others"


def test_who_is_in_a_team() -> None:
    assert members("a:2;b:1") == {"a": 2, "b": 1}
    for person in ("ann: a life", "a:2;b:1 (1)"):
        assert members(person) == {person: 1}
    assert people(["cy", "a:2;cy:1", "b"]) == ["cy", "a", "b"]


@given(st.integers(0, 10**9), st.lists(st.integers(1, 999), min_size=2, max_size=6))
def test_the_shares_of_a_team_sum_to_its_share(share: int, weights: list[int]) -> None:
    team = ";".join(f"p{number}:{weight}" for number, weight in enumerate(weights))
    parts = shares_of_people({team: share})
    assert sum(parts.values()) == share
    for number, weight in enumerate(weights):
        assert abs(parts[f"p{number}"] - share * weight / sum(weights)) < 1


def test_a_pool_pays_people() -> None:
    credits = {"a:2;b:1": (3.0, 3.0, 3.0), "b": (1.0, 1.0, 1.0)}
    division = divide_pool(1000, credits, Terms(minimum=300, disputed=frozenset({"b"})), brought={"a": -100, "cy": 400})
    paid = {name: (row.share, row.amount, row.held) for name, row in division.settlements.items()}
    assert paid == {"a": (500, 400, 0), "b": (500, 0, 500), "cy": (0, 400, 0)}
    assert division.settlements["a"].reasons[0] == CO_AUTHOR
    assert division.shares == {"a:2;b:1": 750, "b": 250}
    assert division.reserve == 100
    with pytest.raises(InputError, match="disputed contributors must have credit"):
        divide_pool(1000, credits, Terms(disputed=frozenset({"a:2;b:1"})))

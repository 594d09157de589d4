"""Hysteresis: money moves only where credit surely has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from royalty.models.payout.division import Terms, divide_pool
from royalty.models.payout.hysteresis import effective_credits, has_moved
from royalty.models.payout.policies import POLICIES, Credit

numbers, widths = st.floats(-100, 100), st.floats(0, 20)
credit_of = st.builds(lambda value, below, above: Credit(value, value - below, value + above), numbers, widths, widths)
names = [f"c{index}" for index in range(8)]
tables = st.dictionaries(st.sampled_from(names), credit_of, min_size=1)


def test_a_known_pair_of_tables() -> None:
    before = {"ann": Credit(3, 2, 4), "bob": Credit(1, 0, 2), "gone": Credit(9, 8, 10)}
    now = {"bob": Credit(5, 4, 6), "ann": Credit(3.9, 3, 5), "new": Credit(1, 0, 2)}
    assert effective_credits(now, before) == {"bob": Credit(5, 4, 6), "ann": Credit(3, 2, 4), "new": Credit(1, 0, 2)}


@given(before=tables, now=tables)
def test_who_surely_moved_has_the_new_credit_and_everybody_else_the_old_one(
    before: dict[str, Credit], now: dict[str, Credit]
) -> None:
    effective = effective_credits(now, before)
    assert list(effective) == list(now)
    for name, credit in effective.items():
        assert credit == (now[name] if name not in before or has_moved(before[name], now[name]) else before[name])


@given(before=tables, now=tables)
def test_a_division_can_be_repeated(before: dict[str, Credit], now: dict[str, Credit]) -> None:
    effective = effective_credits(now, before)
    assert effective_credits(now, effective) == effective


@given(
    before=tables,
    shifts=st.tuples(*[st.floats(-0.9, 0.9)] * 8),
    policy=st.sampled_from(sorted(POLICIES)),
)
def test_nothing_moved_pays_the_same_to_the_cent(
    before: dict[str, Credit], shifts: tuple[float, ...], policy: str
) -> None:
    wide = {name: Credit(credit.value, credit.low - 1, credit.high + 1) for name, credit in before.items()}
    now = {
        name: Credit(credit.value + shift, credit.low + shift, credit.high + shift)
        for (name, credit), shift in zip(wide.items(), shifts, strict=False)
    }
    effective = effective_credits(now, wide)
    weights = POLICIES[policy].weigh(wide)
    if any(weight > 0 for weight in weights.values()):
        terms = Terms(policy=policy)
        assert divide_pool(99_999, effective, terms) == divide_pool(99_999, wide, terms)


@given(before=tables, up=st.floats(50, 100), moving=st.sampled_from(names))
def test_one_who_surely_moved_changes_the_weight_of_nobody_else(
    before: dict[str, Credit], up: float, moving: str
) -> None:
    now = {
        name: Credit(credit.value + shift, credit.low + shift, credit.high + shift)
        for name, credit in before.items()
        for shift in [up if name == moving else 0.0]
    }
    weights = POLICIES["proportional"].weigh
    then, after = weights(before), weights(effective_credits(now, before))
    assert [name for name in then if then[name] != after[name]] == [name for name in before if name == moving]

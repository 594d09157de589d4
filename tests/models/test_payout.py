"""Money: sums to the cent, keeps the order of credit, stays within floor and cap, and says what it holds back."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.payout.apportionment import Shares, bounded_shares, largest_remainder, whole_weights
from royalty.models.payout.division import Division, Terms, divide_pool
from royalty.models.payout.policies import POLICIES, Credit, reliability, tiers


def exactly(**values: float) -> dict[str, Credit]:
    return {name: Credit(value, value, value) for name, value in values.items()}


def amounts(division: Division) -> dict[str, int]:
    return {name: settlement.amount for name, settlement in division.settlements.items()}


numbers = st.floats(-1e6, 1e6)
widths = st.sampled_from([0.0, 1e-3, 1.0]) | st.floats(0, 1e6)
credit_of = st.builds(lambda value, below, above: Credit(value, value - below, value + above), numbers, widths, widths)
tables = st.lists(credit_of, min_size=1, max_size=12).map(lambda rows: {f"c{i}": row for i, row in enumerate(rows)})
portions = st.builds(Fraction, st.integers(0, 1000), st.just(1000))


Problem = tuple[int, dict[str, Credit], Terms, dict[str, int]]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    table, cap = draw(tables), draw(portions)
    terms = Terms(
        policy=draw(st.sampled_from(sorted(POLICIES))),
        negative=draw(st.sampled_from(["zero", "carry", "refuse"])),
        floor=min(cap, draw(portions) / len(table)),
        cap=cap,
        minimum=draw(st.integers(0, 10_000)),
        disputed=draw(st.frozensets(st.sampled_from(sorted(table)))),
    )
    brought = draw(st.dictionaries(st.sampled_from(sorted(table)), st.integers(-5000, 5000)))
    return draw(st.integers(0, 10**6) | st.integers(0, 10**15)), table, terms, brought


@settings(max_examples=200, deadline=None)
@given(problem=problems())
def test_division_is_exact_ordered_bounded_and_accounts_for_everything(problem: Problem) -> None:
    check(*problem)


def test_so_are_those_of_thousands_of_tables() -> None:
    random = Random(0)
    for _ in range(4000):
        table = {}
        for index in range(random.randint(1, 30)):
            value = random.choice([random.gauss(0.3, 1), random.lognormvariate(0, 2), random.randint(-1, 3)])
            width = random.choice([0, random.random(), 5 * random.random()])
            table[f"c{index}"] = Credit(value, value - width, value + width)
        cap = Fraction(random.choice([1, random.random(), 2 / len(table) * random.random()])).limit_denominator(1000)
        cap = min(cap, Fraction(1))
        terms = Terms(
            policy=random.choice(list(POLICIES)),
            negative=random.choice(["zero", "carry", "refuse"]),
            floor=min(cap, Fraction(random.randint(0, 1000), 1000 * len(table))),
            cap=cap,
            minimum=random.choice([0, random.randint(0, 10_000)]),
            disputed=frozenset(name for name in table if random.random() < 0.1),
            unpayable=frozenset(name for name in table if random.random() < 0.1),
        )
        brought = {name: random.randint(-5000, 5000) for name in table if random.random() < 0.3}
        check(random.choice([0, 1, 99, 100_000, random.randint(0, 10**15)]), table, terms, brought)


def check(pool: int, table: dict[str, Credit], terms: Terms, brought: dict[str, int]) -> None:
    weights = POLICIES[terms.policy].weigh(table)
    negative = [name for name, weight in weights.items() if weight < 0]
    if (negative and terms.negative == "refuse") or not any(weight > 0 for weight in weights.values()):
        with pytest.raises(InputError, match="negative credit" if negative and terms.negative == "refuse" else "has a"):
            divide_pool(pool, table, terms, brought)
        return
    division = divide_pool(pool, table, terms, brought)
    rows = division.settlements
    assert rows.keys() == table.keys()
    assert [table[name].value for name in rows] == sorted((credit.value for credit in table.values()), reverse=True)

    out = division.reserve + sum(row.amount + row.held + row.carried for row in rows.values())
    assert out == pool + sum(max(account, 0) for account in brought.values())
    assert division.reserve == pool - sum(row.share for row in rows.values()) + sum(row.taken for row in rows.values())

    shares = [share for _, share in sorted((weights[name], row.share) for name, row in rows.items())]
    assert shares == sorted(shares)
    if terms.policy != "lower-bound":
        for first in table:
            for second in table:
                assert table[first].value <= table[second].value or rows[first].share >= rows[second].share

    for name, row in rows.items():
        account = brought.get(name, 0)
        assert min(row.share, row.amount, row.held, row.carried, row.taken, row.debt) >= 0
        assert row.share <= terms.cap * pool
        assert row.share >= int(terms.floor * pool) if weights[name] > 0 else row.share == 0
        assert row.amount + row.held + row.carried + row.taken == row.share + max(account, 0)
        assert row.amount == 0 or row.amount >= terms.minimum
        assert row.carried < max(terms.minimum, 1)
        assert (row.held == 0 and "in dispute, held" not in row.reasons) or name in terms.disputed | terms.unpayable
        assert row.amount == 0 or name not in terms.disputed | terms.unpayable
        assert account + row.account == row.carried - row.debt
        assert row.debt == 0 or row.amount == row.held == row.carried == 0, "who owes is paid nothing"
    moved = sum(row.amount + row.held + row.account + row.claims for row in rows.values())
    assert moved + division.reserve == pool, "as double entry has it"
    placed = sum(shares)
    assert placed == pool or placed == int(terms.cap * pool) * sum(weight > 0 for weight in weights.values())


@settings(max_examples=100)
@given(table=tables, pool=st.integers(0, 10**12))
def test_defaults_are_in_proportion_to_positive_credit(table: dict[str, Credit], pool: int) -> None:
    total = sum(credit.value for credit in table.values() if credit.value > 0)
    if not total:
        return
    division = divide_pool(pool, table)
    assert division.reserve == 0
    for name, row in division.settlements.items():
        assert row.amount == pytest.approx(pool * max(table[name].value, 0) / total, abs=1.001, rel=1e-9)
        assert not row.reasons


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.integers(1, 1000), min_size=1, max_size=8),
    low=st.integers(0, 100),
    span=st.integers(0, 500),
    spare=st.integers(0, 2000),
)
def test_bounded_shares_are_those_of_one_scale_found_by_bisection(
    weights: list[int], low: int, span: int, spare: int
) -> None:
    high, total = low + span, low * len(weights) + spare
    shares = bounded_shares(total, weights, low=low, high=high).exact
    if high * len(weights) <= total:
        assert shares == [high] * len(weights)
        return
    assert sum(shares) == total
    least, most = 0.0, float(high + 1)
    for _ in range(100):
        scale = (least + most) / 2
        placed = sum(min(max(scale * weight, low), high) for weight in weights)
        least, most = (scale, most) if placed < total else (least, scale)
    assert [float(share) for share in shares] == pytest.approx(
        [float(min(max(scale * weight, low), high)) for weight in weights], abs=1e-6
    )


def test_largest_remainder_prefers_large_remainders_then_large_shares_then_the_earlier() -> None:
    assert largest_remainder(Shares([6, 19], 5)) == [1, 4]
    assert largest_remainder(Shares([1, 5, 1, 1], 2)) == [1, 3, 0, 0]
    assert largest_remainder(Shares([], 1)) == []


@given(st.lists(st.fractions() | st.floats(allow_nan=False, allow_infinity=False).map(Fraction), max_size=6))
def test_whole_weights_keep_their_proportions(weights: list[Fraction]) -> None:
    pairs = list(zip(weights, whole_weights(weights), strict=True))
    assert all(first * right == second * left for first, left in pairs for second, right in pairs)


def test_known_divisions() -> None:
    table = exactly(a=1.0, b=1.0, c=1.0, d=-5.0)
    assert amounts(divide_pool(100, table)) == {"a": 34, "b": 33, "c": 33, "d": 0}
    table = exactly(a=6.0, b=3.0, c=1.0)
    capped = divide_pool(100, table, Terms(cap=Fraction(1, 2)))
    assert amounts(capped) == {"a": 50, "b": 38, "c": 12}  # 37.5 and 12.5: equal remainders, the larger first
    assert capped.settlements["a"].reasons == ("lowered to the cap",)
    floored = divide_pool(100, table, Terms(floor=Fraction(1, 5)))
    assert amounts(floored) == {"a": 53, "b": 27, "c": 20}
    assert floored.settlements["c"].reasons == ("raised to the floor",)
    unplaced = divide_pool(100, table, Terms(cap=Fraction(3, 10)))
    assert amounts(unplaced) == {"a": 30, "b": 30, "c": 30}
    assert unplaced.reserve == 10


def test_lower_bound_pays_what_is_certain_and_charges_only_what_is() -> None:
    table = {"wide": Credit(9, -1, 19), "sure": Credit(4, 3, 5), "some": Credit(2, 1, 3), "bad": Credit(-3, -4, -2)}
    terms = Terms(policy="lower-bound", negative="carry")
    division = divide_pool(400, table, terms)
    assert amounts(division) == {"wide": 0, "sure": 300, "some": 100, "bad": 0}
    assert division.settlements["bad"].debt == 200
    vague = {**table, "bad": Credit(-3, -7, 1)}
    assert divide_pool(400, vague, terms).settlements["bad"].debt == 0


def apart(first: Credit, second: Credit) -> bool:
    return first.low > second.high or second.low > first.high


@given(table=tables)
def test_nobody_is_told_apart_from_their_tier_and_who_opens_one_is_from_the_tier_above(
    table: dict[str, Credit],
) -> None:
    groups = tiers(table)
    assert sorted(name for tier in groups for name in tier) == sorted(table)
    for tier in groups:
        assert not any(apart(table[one], table[two]) for one in tier for two in tier)
    for above, below in pairwise(groups):
        assert min(table[name].value for name in above) >= max(table[name].value for name in below)
        assert any(apart(table[below[0]], table[name]) for name in above)
    weights = POLICIES["equal-tiers"].weigh(table)
    assert all(len({weights[name] for name in tier}) == 1 for tier in groups)
    paid = sum(max(Fraction(credit.value), Fraction(0)) for credit in table.values())
    assert sum(weight for weight in weights.values() if weight > 0) == paid, "a tier shares what was its members'"


def test_a_wide_interval_does_not_join_those_who_are_told_apart() -> None:
    table = {"wide": Credit(10, 0, 20), "high": Credit(9, 8.9, 9.1), "low": Credit(6, 5.5, 6.5)}
    assert tiers(table) == [["wide", "high"], ["low"]]


def test_tiers_do_not_chain() -> None:
    chain = {"a": Credit(10, 8, 12), "b": Credit(8, 6, 10), "c": Credit(6, 4, 7.5), "d": Credit(-1, -2, 0)}
    assert tiers(chain) == [["a", "b"], ["c"], ["d"]]
    division = divide_pool(240, dict(reversed(chain.items())), Terms(policy="equal-tiers"))
    assert amounts(division) == {"d": 0, "c": 60, "b": 90, "a": 90}
    apart = exactly(a=3.0, b=2.0, c=-1.0)
    assert divide_pool(100, apart, Terms(policy="equal-tiers")) == divide_pool(100, apart)
    together = {name: Credit(credit.value, -9, 9) for name, credit in apart.items()}
    assert amounts(divide_pool(99, together, Terms(policy="equal-tiers"))) == {"a": 33, "b": 33, "c": 33}


def test_small_amounts_add_up_over_pools_until_they_are_paid() -> None:
    table, terms, account, paid = exactly(big=9.0, small=1.0), Terms(minimum=25), 0, []
    for _ in range(4):
        row = divide_pool(100, table, terms, {"small": account}).settlements["small"]
        account += row.account
        paid.append(row.amount)
    assert paid == [0, 0, 30, 0]
    assert account == 10


def test_a_debt_is_taken_off_the_next_payments_and_stays_in_reserve() -> None:
    terms = Terms(negative="carry")
    first = divide_pool(100, exactly(a=4.0, b=-2.0), terms)
    assert amounts(first) == {"a": 100, "b": 0}
    assert first.settlements["b"].debt == -first.settlements["b"].account == 50
    second = divide_pool(100, exactly(a=7.0, b=3.0), terms, {"b": -50})
    assert amounts(second) == {"a": 70, "b": 0}
    assert second.reserve == 30
    assert second.settlements["b"].reasons == ("less what was owed", "still in debt")
    third = divide_pool(100, exactly(a=7.0, b=3.0), terms, {"b": -20})
    assert amounts(third) == {"a": 70, "b": 10}
    assert third.settlements["b"].account == 20


def test_what_is_disputed_is_held_and_changes_nobody_elses_amount() -> None:
    table = exactly(a=6.0, b=3.0, c=1.0)
    division = divide_pool(100, table, Terms(disputed=frozenset({"b"}), minimum=50))
    assert amounts(division) == {"a": 60, "b": 0, "c": 0}
    assert {name: (row.held, row.carried) for name, row in division.settlements.items()} == {
        "a": (0, 0),
        "b": (30, 0),
        "c": (0, 10),
    }


def test_a_part_is_divided_equally_and_the_rest_by_credit() -> None:
    table = exactly(a=3.0, b=1.0, c=-1.0)
    by_head = Terms(equal_share=Fraction(3, 10))
    assert amounts(divide_pool(1000, table, by_head)) == {"a": 100 + 525, "b": 100 + 175, "c": 100}
    by_image = Terms(equal_share=Fraction(3, 10), equal_by="image")
    images = {"a": 10, "b": 20, "c": 0}
    assert amounts(divide_pool(1000, table, by_image, images=images)) == {"a": 100 + 525, "b": 200 + 175, "c": 0}
    assert amounts(divide_pool(900, table, Terms(equal_share=Fraction(1)))) == {"a": 300, "b": 300, "c": 300}
    nobody = exactly(a=-3.0, b=0.0, c=-1.0)
    assert amounts(divide_pool(900, nobody, Terms(equal_share=Fraction(1)))) == {"b": 300, "c": 300, "a": 300}
    carried = divide_pool(1000, table, Terms(equal_share=Fraction(3, 10), negative="carry")).settlements["c"]
    assert (carried.share, carried.taken, carried.debt) == (100, 100, 75), "the debt is of the part by credit"
    capped = divide_pool(1000, table, Terms(equal_share=Fraction(3, 10), cap=Fraction(1, 2)))
    assert capped.settlements["a"].reasons == ("lowered to the cap",)
    assert sum(amounts(capped).values()) == 1000
    for images_, says in ((None, "of a, b, c are unknown"), ({"a": 0, "b": 0, "c": 0}, "not all 0")):
        with pytest.raises(InputError, match=says):
            divide_pool(1000, table, by_image, images=images_)
    assert "0.3 of the pool is divided equally" in by_head.description(str)


def test_pay_goes_from_royalty_to_flat_fee_as_credit_gets_noisier() -> None:
    def paid(stderr: float) -> dict[str, int]:
        table = {name: Credit(value, value - 1, value + 1, stderr) for name, value in (("a", 3.0), ("b", 1.0))}
        return amounts(divide_pool(1000, table, Terms(policy="by-reliability")))

    assert paid(0.0) == {"a": 750, "b": 250}
    assert paid(1.0) == {"a": 625, "b": 375}, "the variance between credits is 2, and that of their errors 1"
    assert paid(2.0) == {"a": 500, "b": 500}
    assert reliability(exactly(a=1.0, b=1.0)) == reliability(exactly(a=1.0)) == 0
    assert Credit(0.0, -1.96, 1.96).error == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (Terms(equal_share=Fraction(3, 2)), r"from 0 to 1; got 1.5"),
        (Terms(negative="refuse"), r"that of e, d is negative.*`negative: zero`"),
        (Terms(floor=Fraction(2, 5)), r"3 times 0.4 is more than the pool; lower it to 0.3333"),
        (Terms(floor=Fraction(1, 2), cap=Fraction(1, 4)), r"the floor not above the cap; got 0.5 and 0.25"),
        (Terms(cap=Fraction(3, 2)), r"shares of the pool.*got 0 and 1.5"),
        (Terms(disputed=frozenset({"zed"})), r"'zed' has none; there are a, b, c, d, e"),
    ],
)
def test_terms_that_cannot_be_met_are_refused(terms: Terms, says: str) -> None:
    with pytest.raises(InputError, match=says):
        divide_pool(100, exactly(a=1.0, b=1.0, c=1.0, d=-5.0, e=-0.1), terms)


@pytest.mark.parametrize(
    ("pool", "table", "policy", "says"),
    [
        (-1, exactly(a=1.0), "proportional", "got -1"),
        (1, exactly(a=0.0, b=-1.0), "proportional", "none of the 2 contributors has any;"),
        (1, {"a": Credit(1, -1, 3)}, "lower-bound", "has any that is certain; measure more"),
        (1, {}, "equal-tiers", "none of the 0 contributors"),
        (1, {"a": Credit(1, 0, float("inf"))}, "proportional", "'a' has 1 in 0 to inf"),
        (1, exactly(a=float("nan")), "proportional", "'a' has nan in nan to nan"),
        (1, {"a": Credit(1, 2, 3)}, "proportional", "'a' has 1 in 2 to 3"),
    ],
)
def test_pools_and_credits_that_cannot_be_divided(pool: int, table: dict[str, Credit], policy: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        divide_pool(pool, table, Terms(policy=policy))


def test_description_says_what_applies_and_nothing_else() -> None:
    plain = Terms().description(str)
    assert "Contributors with zero or negative credit receive nothing and owe nothing." in plain
    by_tiers = Terms(policy="equal-tiers").description(str)
    assert "Tiers without positive credit receive nothing" in by_tiers, (
        "a member of a paid tier may have negative credit"
    )
    assert plain.startswith("The pool is divided in proportion to positive credit. Payment follows")
    assert plain.count(".") == 4
    every = Terms("equal-tiers", "carry", Fraction(1, 100), Fraction(3, 10), 500, frozenset({"zoë"}))
    text = every.description(lambda minor: f"€{minor / 100:.2f}")
    for part in ("can be told apart", "is a debt", "0.01 of the pool", "0.3 of the pool", "€5.00", "held: zoë"):
        assert part in text

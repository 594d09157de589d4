"""Money: sums to the cent, keeps the order of credit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.payout import divide_pool

credits = st.dictionaries(st.text(min_size=1, max_size=5), st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(credit=credits, pool=st.integers(0, 10**12))
def test_division_is_exact_fair_and_ordered(credit: dict[str, float], pool: int) -> None:
    if not any(value > 0 for value in credit.values()):
        with pytest.raises(ValueError, match="positive credit"):
            divide_pool(pool, credit)
        return
    amounts = divide_pool(pool, credit)
    assert sum(amounts.values()) == pool
    total = sum(value for value in credit.values() if value > 0)
    for name, value in credit.items():
        assert amounts[name] >= 0
        assert value > 0 or amounts[name] == 0
        assert amounts[name] == pytest.approx(pool * max(value, 0) / total, abs=1.001, rel=1e-9)
    ranked = sorted(credit, key=lambda name: credit[name])
    assert [amounts[name] for name in ranked] == sorted(amounts.values())


def test_known_division() -> None:
    assert divide_pool(100, {"a": 1.0, "b": 1.0, "c": 1.0, "d": -5.0}) == {"a": 34, "b": 33, "c": 33, "d": 0}


def test_negative_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        divide_pool(-1, {"a": 1.0})

"""Gates: each stops what exceeds its limit, says which, and stops nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.models.payout.gates import GATES, Breach, breaches, measure_gates

VALUES = np.array([3.0, 1.0])  # standard deviation 1
MEASURED = measure_gates(
    VALUES, VALUES - 1, VALUES + np.array([1, 3]), efficiency_gap=1e-9, failed=1, trained=8, marginal_error=0.01
)


def test_what_is_measured() -> None:
    assert MEASURED == {"efficiency_gap": 1e-9, "marginal_error": 0.01, "interval_width": 3.0, "failed_share": 0.125}
    equal = np.ones(3)
    assert measure_gates(equal, equal, equal, efficiency_gap=0, failed=0, trained=1)["interval_width"] == 0
    assert measure_gates(equal, equal - 1, equal, efficiency_gap=0, failed=0, trained=1)["interval_width"] == np.inf


@pytest.mark.parametrize("gate", GATES)
def test_each_gate_stops_only_what_exceeds_its_limit(gate: str) -> None:
    value = MEASURED[gate]
    assert breaches(MEASURED, dict.fromkeys(GATES)) == ()
    assert breaches(MEASURED, {gate: value}) == ()
    (breach,) = breaches(MEASURED, {**dict.fromkeys(GATES), gate: value / 2})
    assert breach == Breach(gate, value, value / 2)
    assert f"{value:.3g}, and `payout.limits.{gate}` is {value / 2:.3g}: " in breach.sentence
    (no_number,) = breaches({gate: float("nan")}, {gate: 1e9})
    assert "nan" in no_number.sentence


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_width_has_no_unit(scale: float, shift: float) -> None:
    low, high, values = ((ends * scale + shift) for ends in (VALUES - 1, VALUES + 2, VALUES))
    measured = measure_gates(values, low, high, efficiency_gap=0, failed=0, trained=1)
    assert measured["interval_width"] == pytest.approx(3.0, rel=1e-6)

"""Gates: each stops what exceeds its limit, says which, and stops nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.models.payout.gates import GATES, Breach, breaches, measure_gates, relative_stderr

VALUES = np.array([3.0, 1.0])  # standard deviation 1
MEASURED = measure_gates(
    VALUES,
    VALUES - 1,
    VALUES + np.array([1, 3]),
    stderr=np.array([0.5, 1.0]),
    efficiency_gap=1e-9,
    failed=1,
    trained=8,
    marginal_error=0.01,
)
EXACT = {"stderr": np.zeros(3), "efficiency_gap": 0, "failed": 0, "trained": 1}


def test_what_is_measured() -> None:
    assert MEASURED == {
        "efficiency_gap": 1e-9,
        "marginal_error": 0.01,
        "interval_width": 3.0,
        "failed_share": 0.125,
        "stderr": 0.5,
    }
    equal = np.ones(3)
    assert measure_gates(equal, equal, equal, **EXACT)["interval_width"] == 0
    assert measure_gates(equal, equal - 1, equal, **EXACT)["interval_width"] == np.inf


def test_the_standard_error_is_in_units_of_an_equal_share() -> None:
    stderr = np.array([0.1, 0.6, 0.2])
    assert relative_stderr(np.array([3.0, 2.0, 1.0]), stderr) == pytest.approx(0.3)
    assert relative_stderr(np.array([-3.0, 1.0, -1.0]), stderr) == pytest.approx(0.6), "of a sum that is negative, too"
    balanced = np.array([1.0, -1.0, 0.0])
    assert relative_stderr(balanced, stderr) == np.inf
    assert relative_stderr(balanced, np.zeros(3)) == 0


def test_what_the_standard_error_takes_is_said_if_it_is_known() -> None:
    known, unknown = (breaches(MEASURED, {"stderr": 0.2}, needed=needed)[0].sentence for needed in (240, None))
    assert "0.5, and `payout.limits.stderr` is 0.2: measure about 240 coalitions (" in known
    assert "measure more coalitions (" in unknown
    assert known.endswith("`--accept-uncertainty`")
    (other,) = breaches(MEASURED, {"interval_width": 1.0}, needed=240)
    assert "240" not in other.sentence


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
    measured = measure_gates(values, low, high, **{**EXACT, "stderr": np.zeros(2)})
    assert measured["interval_width"] == pytest.approx(3.0, rel=1e-6)

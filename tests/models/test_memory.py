"""Millions by millions: no product of sizes overflows, and what memory cannot hold is refused before any work."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation.costs import PointCost
from royalty.models.valuation.gmvaluator import gmvaluator_values
from royalty.models.valuation.lava import lava_values
from royalty.models.valuation.memory import check_fits
from royalty.models.valuation.sava import sava_values

MANY = 2_000_000
"""Its square is beyond 32 bits, and beyond any memory."""


def rows(count: int = MANY) -> np.ndarray:
    """Features that take no memory: one number, shown again and again."""
    return np.broadcast_to(np.ones((1, 1), np.float32), (count, 1))


@pytest.mark.parametrize(
    "hold",
    [
        lambda: gmvaluator_values(rows(), rows(), k=MANY),
        lambda: sava_values(rows(), None, rows(), None, batch_size=1),
        lambda: lava_values(rows(), np.arange(MANY), rows(), np.arange(MANY)),
        lambda: check_fits("sizes of 32 bits", np.int32(MANY), np.int32(MANY), bytes_each=8, remedy=""),  # type: ignore[arg-type]
    ],
    ids=["gmvaluator", "sava", "lava", "int32"],
)
def test_what_memory_cannot_hold_is_refused_with_its_size(hold: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=r"2,000,000 by 2,000,000 take [\d,]+ GiB, and this machine has \d"):
        hold()


def test_costs_of_millions_by_millions_are_made_a_row_at_a_time() -> None:
    cost = PointCost(rows(), rows(), scale=1.0)
    assert cost.shape == (MANY, MANY)
    assert [(part, entries.shape) for part, entries, _ in islice(cost.tiles(), 2)] == [
        (slice(0, 1), (1, MANY)),
        (slice(1, 2), (1, MANY)),
    ]

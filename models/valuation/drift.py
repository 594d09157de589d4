"""Measure how far a set of items has moved since an earlier version, by the debiased transport distance of SAVA."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from royalty.models.valuation.batches import Batching, Plan, plan_values, take
from royalty.models.valuation.ground import Batch, Options
from royalty.models.valuation.lava import MAX_ITERATIONS
from royalty.models.valuation.sava import solve_share, transport_of_batches

SAMPLE = 1000
"""Largest number of items on each side that the typical distance is computed from."""


@dataclass(frozen=True)
class Drift:
    """The distance of two sets of items.

    Attributes:
        distance: transport distance of the sets, in units of the features; 0 for equal sets.
        typical: mean distance of an item of one set from an item of the other.
    """

    distance: float
    typical: float

    @property
    def share(self) -> float:
        """The distance divided by the typical distance of two items; near 1 if the sets have nothing in common."""
        return self.distance / self.typical if self.typical > 0 else 0.0


def drift(
    before: np.ndarray,
    after: np.ndarray,
    *,
    epsilon: float = 0.1,
    tolerance: float = 1e-3,
    batch_size: int = 4096,
    seed: int = 0,
    device: torch.device | None = None,
) -> Drift:
    """Compute W(before, after) - (W(before, before) + W(after, after)) / 2, W the value of SAVA's transport.

    With one batch on each side this is the Sinkhorn divergence (Feydy et al. 2019). With several batches, it also
    contains the distance between two random divisions of one set into batches.

    Args:
        before, after: features, `(items, d)`.
        epsilon, tolerance, batch_size, seed: see `royalty.models.valuation.sava.sava_values`.

    Raises:
        InputError: invalid features (see `royalty.models.base.checks`).
        NotConverged: the tolerance was not reached.
    """
    if before.shape == after.shape and (before == after).all():
        return Drift(0.0, _typical(before, after))
    options = Options(0.0, 1.0, epsilon, tolerance, MAX_ITERATIONS)
    batching = Batching(batch_size, False, seed)
    plan = plan_values((before, None), (after, None), options, batching, device)
    plan_to_before = replace(plan, val=_batches(before, batching))
    between = _value(plan, before, batching, device)
    within_before = _value(plan_to_before, before, batching, device)
    within_after = _value(plan, after, batching, device)
    return Drift(max(between - (within_before + within_after) / 2, 0.0), _typical(before, after))


def _value(plan: Plan, items: np.ndarray, batching: Batching, device: torch.device | None) -> float:
    """The value of the transport of items to the validation batches of the plan, including the entropy."""
    share = solve_share(plan, _batches(items, batching), device)
    return transport_of_batches(plan, share.duals, share.sizes).dual


def _batches(items: np.ndarray, batching: Batching) -> tuple[Batch, ...]:
    return tuple(take((items, None), rows) for rows in batching.rows(len(items), None))


def _typical(before: np.ndarray, after: np.ndarray) -> float:
    generator = np.random.default_rng(0)
    first, second = (
        torch.from_numpy(side[generator.permutation(len(side))[:SAMPLE]]).double() for side in (before, after)
    )
    return float(torch.cdist(first, second).mean())

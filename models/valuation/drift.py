"""How far a set of items has moved from what it was: the distance of SAVA, debiased."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from royalty.models.valuation.batches import Batching, Plan, plan_values, take
from royalty.models.valuation.ground import Batch, Options
from royalty.models.valuation.lava import MAX_ITERATIONS
from royalty.models.valuation.sava import solve_share, transport_of_batches

SAMPLE = 1000
"""Items of each side that the typical distance comes from at most."""


@dataclass(frozen=True)
class Drift:
    """How far one set is from another.

    Attributes:
        distance: 0 for equal sets, in units of the features.
        typical: mean distance of two items, one of each set.
    """

    distance: float
    typical: float

    @property
    def share(self) -> float:
        """The distance as a share of what two items are apart: near 1 if nothing is as it was."""
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
    """W(before, after) - (W(before, before) + W(after, after)) / 2, W the value of SAVA's transport of features.

    Up to one batch a side it is the Sinkhorn divergence (Feydy et al. 2019). With more of them, what two draws of
    batches from one set are apart comes on top.

    Args:
        before, after: features, `(items, d)`.
        epsilon, tolerance, batch_size, seed: see `royalty.models.valuation.sava.sava_values`.

    Raises:
        InputError: features as `royalty.models.valuation.items` refuses them.
        NotConverged: the tolerance was not reached.
    """
    if before.shape == after.shape and (before == after).all():
        return Drift(0.0, _typical(before, after))
    options = Options(0.0, 1.0, epsilon, tolerance, MAX_ITERATIONS)
    batching = Batching(batch_size, False, seed)
    plan = plan_values((before, None), (after, None), options, batching, device)
    first = replace(plan, val=_batches(before, batching))
    values = [_value(side, items, batching, device) for side, items in ((plan, before), (first, before), (plan, after))]
    return Drift(max(values[0] - (values[1] + values[2]) / 2, 0.0), _typical(before, after))


def _value(plan: Plan, items: np.ndarray, batching: Batching, device: torch.device | None) -> float:
    """Of the transport of items to the plan's validation batches, entropy included."""
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

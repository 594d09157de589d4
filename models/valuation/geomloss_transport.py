"""Entropic optimal transport by GeomLoss, in place of the solver of `royalty.models.valuation.transport`.

GeomLoss lowers epsilon geometrically from the largest cost to its target in a given number of passes, and does not say
how far it got. Its error falls as one over that number. So the number is doubled, potentials of n and 2n passes are
extrapolated to the limit, and the result, measured like any other, is returned once it is within the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from royalty.models.valuation.costs import Cost
from royalty.models.valuation.memory import check_fits
from royalty.models.valuation.transport import NotConverged, Transport, transport_of

FEWEST = 32
"""Passes of the first attempt."""

COPIES = 4
"""Tables of the size of the cost that exist at the same time: the cost, its transpose, and intermediate results."""


def solve_by_geomloss(
    cost: Cost,
    source_weights: np.ndarray,
    target_weights: np.ndarray,
    *,
    epsilon: float,
    tolerance: float,
    max_iterations: int,
    progress: Callable[[int], None] | None = None,
) -> Transport:
    """Solve to the accuracy of `royalty.models.valuation.transport.solve_transport`, with the same arguments.

    Returns:
        The transport by GeomLoss's potential of the targets; `iterations` counts the passes of all attempts.

    Raises:
        InputError: the cost does not fit in memory.
        NotConverged: the tolerance was not reached in an attempt of at most `max_iterations` passes.
    """
    from geomloss import ot  # of the extra `geomloss`

    kind = cost.offsets.dtype
    check_fits(
        "costs between training and validation items",
        *cost.shape,
        bytes_each=COPIES * kind.itemsize,
        remedy="Use `solver: royalty`, which needs no table",
    )
    whole = torch.cat([entries + cost.offsets[groups] for _, entries, groups in cost.tiles()])  # (n, m)
    a, b = (torch.as_tensor(each, dtype=kind, device=cost.device) for each in (source_weights, target_weights))
    spent, passes, half = 0, min(FEWEST, max_iterations), None
    while True:
        target = ot.solve(whole, a=a, b=b, reg=epsilon, max_iter=passes).potential_b.double().cpu().numpy()
        target -= target.mean()
        limit = target if half is None else 2 * target - half
        found, half = transport_of(cost, source_weights, target_weights, limit, epsilon), target
        spent += passes
        if progress is not None:
            progress(passes)
        if found.marginal_error <= tolerance and found.drift <= tolerance * cost.scale:
            return replace(found, iterations=spent)
        if 2 * passes > max_iterations:
            raise NotConverged(
                f"transport is solved to a marginal error of at most {tolerance:g}; after {passes} passes of GeomLoss "
                f"it is {found.marginal_error:.2g}, and groups drift by {found.drift / cost.scale:.2g} of the scale. "
                "Allow more passes (`max_iterations`), raise the tolerance or epsilon, or use `solver: royalty`"
            )
        passes *= 2

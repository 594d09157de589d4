"""Entropic optimal transport by GeomLoss, corrected to a stated accuracy.

GeomLoss lowers epsilon geometrically from the largest cost to its target in a given number of passes, and does not say
how far it got. The error falls as one over that number at best; and between groups of points that lie far apart, such
as labels, potentials hardly move, however many passes it takes. So the result of a short run is the start of
`royalty.models.valuation.transport.solve_transport`, which moves groups by Newton's method and measures the error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from royalty.models.base.choices import SolverName
from royalty.models.valuation.costs import Cost
from royalty.models.valuation.memory import check_fits
from royalty.models.valuation.transport import NotConverged, Transport, solve_transport

PASSES = 32
"""Passes of GeomLoss, at most; after more, no fewer corrections are needed."""

COPIES = 4
"""Tables of the size of the cost that exist at the same time: the cost, its transpose, and intermediate results."""


def solver_of(name: SolverName) -> Callable[..., Transport]:
    """The function of this solver; both take the arguments of `royalty.models.valuation.transport.solve_transport`."""
    return solve_by_geomloss if name == "geomloss" else solve_transport


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
        The transport; `iterations` counts the passes of GeomLoss and those that correct its result.

    Raises:
        InputError: the cost does not fit in memory.
        NotConverged: the tolerance was not reached in `max_iterations` passes.
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
    passes = min(PASSES, max(1, max_iterations - 1))
    start = ot.solve(whole, a=a, b=b, reg=epsilon, max_iter=passes).potential_b.double().cpu().numpy()
    if progress is not None:
        progress(passes)
    try:
        corrected = solve_transport(
            cost,
            source_weights,
            target_weights,
            epsilon=epsilon,
            tolerance=tolerance,
            max_iterations=max(1, max_iterations - passes),
            start=start - start.mean(),
            progress=progress,
        )
    except NotConverged as error:
        raise NotConverged(f"after {passes} passes of GeomLoss, {error}") from error
    return replace(corrected, iterations=passes + corrected.iterations)

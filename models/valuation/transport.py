"""Entropic optimal transport between point clouds, to a stated accuracy and in bounded memory.

The problem is to minimize <P, C> + epsilon KL(P | a b') over couplings P of the weights a of n sources and b of
m targets. With dual potentials f, `(n,)`, and g, `(m,)`, its solution is
P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon). Sinkhorn's algorithm alternates between the f that gives P its
row sums and the g that gives it its column sums.

Here one pass over tiles of C does both. A tile holds whole rows, so it determines the new f of its rows and, from
the same exponentials, its part of the column sums. An iteration costs one matrix product and one exponential per
entry; after it the row sums are exact, and the marginal error of the columns is known. Between passes g is
extrapolated from the last few (Anderson mixing), which needs a fifth to a tenth of the plain iterations if epsilon
is small.

If groups of points, such as labels, lie far apart, hardly any mass moves between them. Sinkhorn's algorithm then
converges very slowly to the potential differences between groups, because they barely affect the column sums. So
each pass also solves the same problem between groups, whose coupling is a small matrix, by Newton's method.

Of a cost that is in memory, the exponentials of a full pass are kept, too. While the potential g is near that of this
pass, g', its columns are multiplied by exp((g - g') / epsilon), so that a pass is a product of a matrix and a vector
(Schmitzer 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.valuation.costs import Cost
from royalty.models.valuation.mixing import Mixing

NEAR = 30.0
"""Largest change of a potential, in units of epsilon, at which kept exponentials are used: what underflowed is then
still below any rounding of the sums."""

NEWTON = 6
"""Newton steps on the coupling of groups after each pass."""

FARTHEST = 4.0
"""Longest Newton step, in units of epsilon."""

SETTLED = 1e-9
"""Newton step, in units of epsilon, after which another changes nothing."""

COARSEST = 0.3
"""First value of epsilon, as a fraction of the cost's scale; then it decreases. From a larger one, more passes are lost
than it saves (`tests.benchmarks.transport_peers`)."""

ROUNDING = 256
"""Slopes of the mass between groups below this many machine epsilons are rounding noise, and are not followed."""

_FALL = 3.0


class NotConverged(InputError):
    """The marginal error stayed above the tolerance."""


@dataclass(frozen=True)
class Transport:
    """A solution.

    Attributes:
        source, target: float64, the dual potentials, `(n,)` and `(m,)`, in units of the cost. They are determined up to
            a constant, chosen so that the mean of `target` is zero.
        distance: <P, C>, the cost of the coupling without its entropy.
        dual: value of the regularized problem.
        marginal_error: sum over columns of |mass - prescribed mass|, in [0, 2]; that of rows is zero.
        drift: largest change of the potential difference of two groups that Newton's method would still make, in units
            of the cost.
        iterations: passes over the cost.
        flow: mass sent from each group of rows to each target, `(groups, m)`.
    """

    source: np.ndarray
    target: np.ndarray
    distance: float
    dual: float
    marginal_error: float
    drift: float
    iterations: int
    flow: np.ndarray


def solve_transport(
    cost: Cost,
    source_weights: np.ndarray,
    target_weights: np.ndarray,
    *,
    epsilon: float,
    tolerance: float,
    max_iterations: int,
    start: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
) -> Transport:
    """Solve until the marginal error is at most the tolerance, and the drift at most the tolerance times the scale.

    Args:
        source_weights, target_weights: `(n,)` and `(m,)`, positive, each summing to one.
        epsilon: of the entropy, in units of the cost.
        start: initial potential of the targets, `(m,)`; with it, epsilon is not decreased in stages.
        progress: called with 1 after each pass.

    Raises:
        NotConverged: the tolerance was not reached in that many passes.
    """
    kind = cost.offsets.dtype
    a, b = (torch.as_tensor(weights, dtype=torch.float64) for weights in (source_weights, target_weights))
    g = torch.zeros_like(b) if start is None else torch.as_tensor(start, dtype=torch.float64)
    stages = falling(epsilon, COARSEST * cost.scale) if start is None else []
    mixing = Mixing(8 * torch.finfo(kind).eps * cost.scale)
    iterations, error, drift = 0, np.inf, np.inf
    kept: _Kept | None = None
    for current in islice(chain(stages, repeat(epsilon)), max_iterations):
        sweep = None if kept is None else kept.sweep(a, g)
        if sweep is None:
            kept = _Kept(cost, g, epsilon) if cost.small and current == epsilon else None
            sweep = _sweep(cost, a, b, g, current, kind, kept)
        iterations += 1
        if progress is not None:
            progress(1)
        dual = float(a @ sweep.source + b @ g)
        ratio, between, error, drift = _defects(cost, sweep.flow, b, current, kind)
        if current == epsilon and error <= tolerance and drift <= tolerance * cost.scale:
            if kept is not None:
                sweep = replace(sweep, distance=kept.distance(a, g, sweep.flow))
            return _transport(sweep, g, dual, error, drift, iterations)
        step = current * (between[cost.target_groups] - ratio.log())
        step -= step.mean()
        g = mixing.next(g, step, dual) if current == epsilon else g + step
    if iterations <= len(stages):
        raise NotConverged(
            f"epsilon falls to {epsilon:.3g} in {len(stages)} passes before transport is solved at it; "
            f"`max_iterations` allows {max_iterations}. Set it to 1000, for example"
        )
    raise NotConverged(
        f"transport is solved to a marginal error of at most {tolerance:g}; after {iterations} passes it is "
        f"{error:.2g}, and groups drift by {drift / cost.scale:.2g} of the scale. "
        "Allow more passes (`max_iterations`), raise the tolerance or epsilon, or give float64 features"
    )


def source_potential(
    cost: Cost, source_weights: np.ndarray, target_weights: np.ndarray, target: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """The potential of the sources that gives the rows their mass, for a potential of the targets; one pass.

    Args:
        target: `(m,)`, of any problem with these targets; weights and epsilon as for `solve_transport`.

    Returns:
        float64: the potential, `(n,)`, and the resulting mass of the columns, `(m,)`.
    """
    arrays = source_weights, target_weights, target
    a, b, g = (torch.as_tensor(array, dtype=torch.float64) for array in arrays)
    sweep = _sweep(cost, a, b, g, epsilon, cost.offsets.dtype)
    return sweep.source.numpy(), sweep.flow.sum(dim=0).numpy()


@dataclass(frozen=True)
class _Sweep:
    """The result of a pass; with kept exponentials the distance is left out, which `_Kept.distance` gives."""

    source: Tensor
    flow: Tensor
    distance: float = math.nan


class _Kept:
    """The exponentials of a full pass, which `_sweep` fills in, for passes at potentials near its own.

    Args:
        g: potential of the targets of the full pass.
    """

    def __init__(self, cost: Cost, g: Tensor, epsilon: float) -> None:
        self.cost, self.g, self.epsilon = cost, g, epsilon
        self.plan = torch.empty(cost.shape, dtype=cost.offsets.dtype, device=cost.device)  # rows sum to one
        self.source = torch.empty(0)

    def sweep(self, a: Tensor, g: Tensor) -> _Sweep | None:
        """A pass at a potential of the targets; None if it is too far away."""
        change = (g - self.g) / self.epsilon
        if float(change.abs().max()) > NEAR:
            return None
        factors = change.to(self.plan).exp()
        total = self.plan @ factors  # (n,)
        mass = _by_group(a.to(self.plan) / total, self.cost.groups, len(self.cost.offsets))
        flow = (mass @ self.plan) * factors
        return _Sweep(self.source - self.epsilon * total.double().log().cpu(), flow.double().cpu())

    def distance(self, a: Tensor, g: Tensor, flow: Tensor) -> float:
        """The cost of the coupling of a pass at a near potential of the targets, with its flow."""
        factors = ((g - self.g) / self.epsilon).to(self.plan).exp()
        mass = a.to(self.plan) / (self.plan @ factors)
        tiles = self.cost.tiles()
        within = sum(float(mass[rows] @ (self.plan[rows] * entries @ factors)) for rows, entries, _ in tiles)
        return within + float((flow * self.cost.offsets.cpu()).sum())


def _by_group(mass: Tensor, groups: Tensor, count: int) -> Tensor:
    """The mass of rows, `(rows,)`, each in the row of its group and else zero, `(groups, rows)`."""
    by_group = torch.zeros(count, len(groups), dtype=mass.dtype, device=mass.device)
    return by_group.scatter_(0, groups[None], mass[None])


def _transport(sweep: _Sweep, g: Tensor, dual: float, error: float, drift: float, iterations: int) -> Transport:
    shift = g.mean()
    return Transport(
        source=(sweep.source + shift).numpy(),
        target=(g - shift).numpy(),
        distance=sweep.distance,
        dual=dual,
        marginal_error=error,
        drift=drift,
        iterations=iterations,
        flow=sweep.flow.numpy(),
    )


def _defects(
    cost: Cost, flow: Tensor, b: Tensor, epsilon: float, kind: torch.dtype
) -> tuple[Tensor, Tensor, float, float]:
    """The mass of each column by the prescribed one, the step between groups, the marginal error, and the drift."""
    columns = flow.sum(dim=0)
    # The potential of a column that receives no mass moves by the largest finite step, and is corrected later.
    ratio = columns.clamp_min(torch.finfo(kind).tiny) / b
    between = _between(flow, ratio, b, cost.target_groups, ROUNDING * torch.finfo(kind).eps)
    return ratio, between, float((columns - b).abs().sum()), epsilon * float(between.max() - between.min())


def _sweep(
    cost: Cost, a: Tensor, b: Tensor, g: Tensor, epsilon: float, kind: torch.dtype, kept: _Kept | None = None
) -> _Sweep:
    """The potential of the sources for the targets' potential g, and the coupling of both.

    Args:
        kept: takes the exponentials, if it is given.
    """
    offsets, device = cost.offsets, cost.device
    tilted = ((g + epsilon * b.log()).to(device, kind) - offsets) / epsilon  # (groups, m)
    weights = a.to(device, kind)
    # Exponentials that underflow take up to 13 times as long; those at the floor are below any rounding of the sums.
    floor = math.ceil(math.log(torch.finfo(kind).tiny))
    source = torch.empty(len(a), dtype=torch.float64, device=device)
    flow = torch.zeros(offsets.shape, dtype=torch.float64, device=device)
    distance = torch.zeros((), dtype=torch.float64, device=device)
    for rows, entries, groups in cost.tiles():
        plan = tilted[groups] if len(tilted) > 1 else tilted.expand(len(groups), -1).clone()
        plan.add_(entries, alpha=-1 / epsilon)
        highest = plan.amax(dim=1, keepdim=True)  # (rows, 1)
        plan.sub_(highest).clamp_min_(floor).exp_()
        total = plan.sum(dim=1)
        if kept is not None:
            torch.div(plan, total[:, None], out=kept.plan[rows])
        source[rows] = -epsilon * (highest[:, 0] + total.log()).double()
        mass = weights[rows] / total
        flow += _by_group(mass, groups, len(offsets)) @ plan
        if kept is None:
            distance += mass @ plan.mul_(entries).sum(dim=1)
    if kept is not None:
        kept.source = source.cpu()
        return _Sweep(kept.source, flow.cpu())
    distance += (flow * offsets).sum()
    return _Sweep(source.cpu(), flow.cpu(), float(distance))


def _between(flow: Tensor, ratio: Tensor, b: Tensor, groups: Tensor, least: float) -> Tensor:
    """The shift of each target group's potential, divided by epsilon, that gives every group its mass.

    Args:
        flow: `(source groups, m)`, with exact row sums.
        ratio: `(m,)`, the mass of each column divided by its prescribed mass.
        least: smallest slope of the groups' masses that is distinguishable from rounding.

    Returns:
        `(target groups,)`, of mean zero.
    """
    count = int(groups.max()) + 1
    shift = torch.zeros(count, dtype=torch.float64)
    if count == 1:
        return shift
    prescribed = shift.index_add(0, groups, b)
    coupling = torch.zeros(len(flow), count, dtype=torch.float64)
    coupling.index_add_(1, groups, flow / ratio)  # with exact column sums
    sent = flow.sum(dim=1, keepdim=True)
    coupling, sent = coupling[sent[:, 0] > 0], sent[sent[:, 0] > 0]
    for _ in range(NEWTON):
        tilted = coupling * (shift - shift.max()).exp()
        share = tilted / tilted.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        received = (sent * share).sum(dim=0)
        slopes, directions = torch.linalg.eigh(received.diag() - share.T @ (sent * share))
        step = directions @ torch.where(slopes > least, (directions.T @ (prescribed - received)) / slopes, 0.0)
        longest = float(step.abs().max())
        if longest < SETTLED:
            break
        shift = shift + step * (FARTHEST / longest if longest > FARTHEST else 1.0)
    return shift - shift.mean()


def falling(epsilon: float, start: float) -> list[float]:
    """Decreasing values from the start to well above epsilon."""
    values = []
    while start > 2 * epsilon:
        values.append(start)
        start /= _FALL
    return values

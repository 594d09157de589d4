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
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.valuation.mixing import Mixing

TILE, GPU_TILE = 2**20, 2**24
"""Entries of a tile: enough rows for a fast matrix product, and the bound on memory."""

NEWTON = 6
"""Newton steps on the coupling of groups after each pass."""

FARTHEST = 4.0
"""Longest Newton step, in units of epsilon."""

COARSEST = 1.0
"""First value of epsilon, as a fraction of the cost's scale, at which no exponential underflows; then it decreases."""

ROUNDING = 256
"""Slopes of the mass between groups below this many machine epsilons are rounding noise, and are not followed."""

_FALL = 3.0


class NotConverged(InputError):
    """The marginal error stayed above the tolerance."""


class Cost(Protocol):
    """A cost matrix that is computed tile by tile."""

    shape: tuple[int, int]
    scale: float
    """Approximate standard deviation of the entries."""

    target_groups: Tensor
    """Group of each target, `(m,)`, on the CPU."""

    @property
    def device(self) -> torch.device:
        """Where the entries are computed. Vectors as long as a side of the matrix stay on the CPU."""

    def tiles(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Rows, their entries without the offsets, `(rows, m)`, and their groups, `(rows,)`."""

    @property
    def offsets(self) -> Tensor:
        """Numbers added to all entries of a group of rows, `(groups, m)`."""


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
    stages = _falling(epsilon, COARSEST * cost.scale) if start is None else []
    mixing = Mixing(8 * torch.finfo(kind).eps * cost.scale)
    iterations, error, drift = 0, np.inf, np.inf
    for current in islice(chain(stages, repeat(epsilon)), max_iterations):
        sweep = _sweep(cost, a, b, g, current, kind)
        iterations += 1
        if progress is not None:
            progress(1)
        dual = float(a @ sweep.source + b @ g)
        ratio, between, error, drift = _defects(cost, sweep.flow, b, current, kind)
        if current == epsilon and error <= tolerance and drift <= tolerance * cost.scale:
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


def transport_of(
    cost: Cost, source_weights: np.ndarray, target_weights: np.ndarray, target: np.ndarray, epsilon: float
) -> Transport:
    """The transport that a potential of the targets gives, with its marginal error and drift; one pass.

    Args:
        target: `(m,)`, by any solver; weights and epsilon as for `solve_transport`.
    """
    kind = cost.offsets.dtype
    arrays = source_weights, target_weights, target
    a, b, g = (torch.as_tensor(array, dtype=torch.float64) for array in arrays)
    sweep = _sweep(cost, a, b, g, epsilon, kind)
    _, _, error, drift = _defects(cost, sweep.flow, b, epsilon, kind)
    return _transport(sweep, g, float(a @ sweep.source + b @ g), error, drift, 1)


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
    source: Tensor
    flow: Tensor
    distance: float


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


def _sweep(cost: Cost, a: Tensor, b: Tensor, g: Tensor, epsilon: float, kind: torch.dtype) -> _Sweep:
    """The potential of the sources for the targets' potential g, and the coupling of both."""
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
        source[rows] = -epsilon * (highest[:, 0] + total.log()).double()
        mass = weights[rows] / total
        by_group = torch.zeros(len(offsets), len(groups), dtype=kind, device=device)
        by_group[groups, torch.arange(len(groups), device=device)] = mass
        flow += by_group @ plan
        distance += mass @ plan.mul_(entries).sum(dim=1)
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
        shift = shift + step * (FARTHEST / longest if longest > FARTHEST else 1.0)
    return shift - shift.mean()


def _falling(epsilon: float, start: float) -> list[float]:
    """Decreasing values from the start to above epsilon."""
    values = []
    while start > epsilon:
        values.append(start)
        start /= _FALL
    return values


class MatrixCost:
    """A small cost matrix in memory, `(n, m)`."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float64))
        self.shape = (len(matrix), matrix.shape[1])
        self.scale = _spread(self.matrix)
        self.target_groups = torch.zeros(self.shape[1], dtype=torch.long)
        self.offsets = torch.zeros(1, self.shape[1], dtype=torch.float64)
        self.groups = torch.zeros(self.shape[0], dtype=torch.long)

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    def tiles(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        yield slice(0, self.shape[0]), self.matrix, self.groups


class PointCost:
    """Weighted Euclidean distance of features plus label offsets: feature_weight |x_i - x'_j| + offsets[y_i, j].

    A cost of one tile is kept between passes; a larger one is recomputed in each pass, so that memory does not grow
    with n times m.
    """

    def __init__(
        self,
        sources: np.ndarray,
        targets: np.ndarray,
        *,
        feature_weight: float = 1.0,
        offsets: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        target_groups: np.ndarray | None = None,
        centre: np.ndarray | None = None,
        scale: float | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Take points, `(n, d)` and `(m, d)`, possibly memory maps.

        Args:
            offsets: `(groups, m)`; zero by default.
            groups: `(n,)`, the row of `offsets` for each source.
            target_groups: `(m,)`, the group of each target.
            centre: `(d,)`, subtracted from both clouds, so that distances lose fewer digits.
            scale: standard deviation of the cost; by default that of the first tile.
        """
        kind = np.float64 if sources.dtype == np.float64 else np.float32
        self.device = device or torch.device("cpu")
        self.shape = (len(sources), len(targets))
        self.sources, self.kind = sources, kind
        self.centre = np.zeros(sources.shape[1], kind) if centre is None else centre.astype(kind)
        points = self._points(targets)
        squares = points.square().sum(dim=1, keepdim=True)
        self.ready = torch.cat([points.mul_(-2), torch.ones_like(squares), squares], dim=1).T
        self.feature_weight = feature_weight
        offsets = np.zeros((1, len(targets))) if offsets is None else offsets
        self.offsets = torch.from_numpy(offsets.astype(kind)).to(self.device)
        groups = np.zeros(len(sources), dtype=np.int64) if groups is None else groups
        self.groups = torch.from_numpy(groups).to(self.device)
        target_groups = np.zeros(len(targets), dtype=np.int64) if target_groups is None else target_groups
        self.target_groups = torch.from_numpy(target_groups)
        self.height = max((TILE if self.device.type == "cpu" else GPU_TILE) // len(targets), 1)
        self.kept = self._entries(slice(0, len(sources))) if len(sources) <= self.height else None
        self.scale = self._first_spread() if scale is None else scale

    def tiles(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for start in range(0, self.shape[0], self.height):
            rows = slice(start, min(start + self.height, self.shape[0]))
            yield rows, self._entries(rows) if self.kept is None else self.kept, self.groups[rows]

    def _first_spread(self) -> float:
        _, entries, groups = next(self.tiles())
        return _spread(entries + self.offsets[groups])

    def _entries(self, rows: slice) -> Tensor:
        # As torch.cdist does for more than 25 points, but the targets are prepared once instead of for each tile.
        points = self._points(self.sources[rows])
        squares = points.square().sum(dim=1, keepdim=True)
        entries = torch.cat([points, squares, torch.ones_like(squares)], dim=1) @ self.ready
        entries = entries.clamp_min_(0).sqrt_()
        return entries if self.feature_weight == 1 else entries.mul_(self.feature_weight)

    def _points(self, features: np.ndarray) -> Tensor:
        centred: np.ndarray = np.subtract(features, self.centre, dtype=self.kind)
        return torch.from_numpy(centred).to(self.device)


def _spread(entries: Tensor) -> float:
    """Standard deviation; if it is zero, the mean absolute value; if that is zero too, one."""
    return float(entries.std(correction=0)) or float(entries.abs().mean()) or 1.0

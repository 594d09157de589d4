"""Several transports of one shape at once, for a GPU, on which a single small one is mostly waiting.

The method is that of `royalty.models.valuation.transport`, pair by pair, so the solutions differ by rounding alone. One
call does a pass over all costs, and one copy brings what it found to the CPU; the step between groups is solved for all
pairs together. Pairs that have converged wait for the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice, repeat

import numpy as np
import torch
from torch import Tensor

from royalty.models.valuation.costs import GPU_TILE, LEAST_ON_GPU, PointCost
from royalty.models.valuation.mixing import Mixing
from royalty.models.valuation.transport import (
    COARSEST,
    FARTHEST,
    NEAR,
    NEWTON,
    ROUNDING,
    SETTLED,
    Transport,
    falling,
    solve_transport,
    source_potential,
)

STACKED_ON = ("cuda",)
"""Device types on which transports are solved several at once. On a CPU that would change values by rounding, and gain
little for batches of 1,000 items (`tests.benchmarks.gpu_speed`)."""

STACKED_ENTRIES = 2**26
"""Most entries of the costs of a stack; a stack takes three times the memory, 768 MiB in float32."""


def stacks(sources: int, targets: Sequence[int], device: torch.device | None) -> list[list[int]]:
    """The positions of pairs that are solved at once: on a device of `STACKED_ON` those of one shape, else each alone.

    Args:
        sources: points on one side of all pairs.
        targets: points on the other side of each pair.
    """
    if device is None or device.type not in STACKED_ON:
        return [[pair] for pair in range(len(targets))]
    shapes: dict[int, list[int]] = {}
    for pair, points in enumerate(targets):
        shapes.setdefault(points, []).append(pair)
    found = []
    for points, pairs in shapes.items():
        # Costs that are not kept in memory are no stack, nor are those that the CPU computes.
        stacked = LEAST_ON_GPU <= sources * points <= GPU_TILE
        width = max(STACKED_ENTRIES // (sources * points), 1) if stacked else 1
        found += [pairs[start : start + width] for start in range(0, len(pairs), width)]
    return found


def solve_transports(
    costs: Sequence[PointCost],
    source_weights: np.ndarray,
    target_weights: np.ndarray,
    *,
    epsilon: float,
    tolerance: float,
    max_iterations: int,
    starts: Sequence[np.ndarray] | None,
) -> list[Transport]:
    """`solve_transport` of costs of one shape and scale, between the same sources and different targets.

    Args:
        source_weights, target_weights: `(n,)` and `(m,)`, of every pair.
        starts: initial potentials of the targets, for each pair `(m,)`.

    Raises:
        NotConverged: the tolerance was not reached for a pair.
    """
    solved = {}
    if len(costs) > 1:
        weights = source_weights, target_weights
        solved = _solved(costs, *weights, epsilon, tolerance, max_iterations, starts)
    # A pair that has not converged is solved alone, which says what keeps it from converging.
    return [
        replace(solved[pair][0], distance=float(solved[pair][1]))
        if pair in solved
        else solve_transport(
            cost,
            source_weights,
            target_weights,
            epsilon=epsilon,
            tolerance=tolerance,
            max_iterations=max_iterations,
            start=None if starts is None else starts[pair],
        )
        for pair, cost in enumerate(costs)
    ]


def _solved(
    costs: Sequence[PointCost],
    source_weights: np.ndarray,
    target_weights: np.ndarray,
    epsilon: float,
    tolerance: float,
    max_iterations: int,
    starts: Sequence[np.ndarray] | None,
) -> dict[int, tuple[Transport, Tensor]]:
    """The pairs that converge, each without its distance, and its distance on the device."""
    stack, count, scale = _Stack(costs), len(costs), costs[0].scale
    a, b = (torch.as_tensor(weights, dtype=torch.float64) for weights in (source_weights, target_weights))
    g = torch.zeros(count, len(b), dtype=torch.float64)
    if starts is not None:
        g = torch.stack([torch.as_tensor(start, dtype=torch.float64) for start in starts])
    stages = falling(epsilon, COARSEST * scale) if starts is None else []
    kind = torch.finfo(stack.entries.dtype)
    mixing = [Mixing(8 * kind.eps * scale) for _ in costs]
    solved: dict[int, tuple[Transport, Tensor]] = {}
    for passes, current in enumerate(islice(chain(stages, repeat(epsilon)), max_iterations), 1):
        source, flow = stack.sweep(a, b, g, current)
        duals = (source @ a.to(source) + (b * g).sum(1).to(source)).cpu()  # float64 sums, which a copy waits for once
        on_cpu = flow.double().cpu()
        columns = on_cpu.sum(1)
        ratio = columns.clamp_min(kind.tiny) / b
        between, spread = _between(on_cpu, ratio, b, stack.target_groups, ROUNDING * kind.eps)
        errors = (columns - b).abs().sum(1)
        step = current * (between.gather(1, stack.target_groups) - ratio.log())
        step -= step.mean(1, keepdim=True)
        for pair in (pair for pair in range(count) if pair not in solved):
            error, drift, dual = float(errors[pair]), current * float(spread[pair]), float(duals[pair])
            if current == epsilon and error <= tolerance and drift <= tolerance * scale:
                shift = g[pair].mean()
                transport = Transport(
                    source=(source[pair].cpu() + shift).numpy(),
                    target=(g[pair] - shift).numpy(),
                    distance=math.nan,
                    dual=dual,
                    marginal_error=error,
                    drift=drift,
                    iterations=passes,
                    flow=on_cpu[pair].numpy(),
                )
                solved[pair] = transport, stack.distance(pair, a, g[pair], flow[pair])
            elif current == epsilon:
                g[pair] = mixing[pair].next(g[pair].clone(), step[pair], dual)
            else:
                g[pair] = g[pair] + step[pair]
        if len(solved) == count:
            break
    return solved


def source_potentials(
    costs: Sequence[PointCost],
    source_weights: np.ndarray,
    target_weights: np.ndarray,
    targets: Sequence[np.ndarray],
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:
    """`source_potential` of costs of one shape: potentials, `(pairs, n)`, and masses of columns, `(pairs, m)`."""
    if len(costs) == 1:
        source, mass = source_potential(costs[0], source_weights, target_weights, targets[0], epsilon)
        return source[None], mass[None]
    a, b = (torch.as_tensor(weights, dtype=torch.float64) for weights in (source_weights, target_weights))
    g = torch.stack([torch.as_tensor(target, dtype=torch.float64) for target in targets])
    potentials, flow = _Stack(costs).sweep(a, b, g, epsilon)
    return potentials.cpu().numpy(), flow.double().sum(1).cpu().numpy()


class _Stack:
    """Costs in memory, `(pairs, n, m)`, and the exponentials of the last full pass over them."""

    def __init__(self, costs: Sequence[PointCost]) -> None:
        self.entries = torch.stack([cost.kept for cost in costs if cost.kept is not None])
        self.offsets = torch.stack([cost.offsets for cost in costs])  # (pairs, groups, m)
        self.groups = costs[0].groups
        self.target_groups = torch.stack([cost.target_groups for cost in costs])
        self.plan = torch.empty(0)
        self.near: tuple[float, Tensor, Tensor] | None = None
        """Of the last full pass: epsilon, the potentials of the targets, and those of the sources."""

    def sweep(self, a: Tensor, b: Tensor, g: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """The potentials of the sources, float64 `(pairs, n)`, and the flow, `(pairs, groups, m)`, on the device."""
        mass = a.to(self.entries)
        if self.near is not None and self.near[0] == epsilon:
            change = (g - self.near[1]) / epsilon
            if float(change.abs().max()) <= NEAR:
                factors = change.to(self.entries).exp()
                total = (self.plan @ factors[..., None])[..., 0]  # (pairs, n)
                flow = (self._by_group(mass / total) @ self.plan) * factors[:, None]
                return self.near[2] - epsilon * total.double().log(), flow
        floor = math.ceil(math.log(torch.finfo(self.entries.dtype).tiny))
        tilted = ((g + epsilon * b.log()).to(self.entries)[:, None] - self.offsets) / epsilon  # (pairs, groups, m)
        self.plan = torch.empty(0)  # before the next one takes its memory
        plan = tilted[:, self.groups].add_(self.entries, alpha=-1 / epsilon)
        highest = plan.amax(dim=2, keepdim=True)
        plan.sub_(highest).clamp_min_(floor).exp_()
        total = plan.sum(dim=2)
        flow = self._by_group(mass / total) @ plan
        source = -epsilon * (highest[..., 0] + total.log()).double()
        self.plan = plan.div_(total[..., None])
        self.near = epsilon, g.clone(), source
        return source, flow

    def distance(self, pair: int, a: Tensor, g: Tensor, flow: Tensor) -> Tensor:
        """The cost of the coupling of a pair at a potential near that of the last full pass, with its flow."""
        assert self.near is not None
        epsilon, before, _ = self.near
        factors = ((g - before[pair]) / epsilon).to(self.plan).exp()
        mass = a.to(self.plan) / (self.plan[pair] @ factors)
        within = mass @ ((self.plan[pair] * self.entries[pair]) @ factors)
        return within.double() + (flow.double() * self.offsets[pair]).sum()

    def _by_group(self, mass: Tensor) -> Tensor:
        """The mass of rows, `(pairs, n)`, each in the row of its group and else zero, `(pairs, groups, n)`."""
        by_group = torch.zeros(len(mass), self.offsets.shape[1], mass.shape[1], dtype=mass.dtype, device=mass.device)
        return by_group.scatter_(1, self.groups.expand(len(mass), 1, -1), mass[:, None])


def _between(flow: Tensor, ratio: Tensor, b: Tensor, groups: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """The step between target groups of each pair, `(pairs, groups)`, and its spread, `(pairs,)`.

    See the function of the same name for a single pair; groups after the last of a pair have no part in its mean.
    """
    counts = groups.amax(1, keepdim=True) + 1  # (pairs, 1)
    shift = torch.zeros(len(flow), int(counts.max()), dtype=torch.float64)
    if shift.shape[1] == 1:
        return shift, shift[:, 0]
    prescribed = shift.scatter_add(1, groups, b.expand(len(flow), -1))
    coupling = torch.zeros(*flow.shape[:2], shift.shape[1], dtype=torch.float64)
    coupling.scatter_add_(2, groups[:, None].expand_as(flow), flow / ratio[:, None])
    sent = flow.sum(dim=2, keepdim=True)
    moving = torch.ones_like(counts, dtype=torch.bool)
    for _ in range(NEWTON):
        tilted = coupling * (shift - shift.amax(1, keepdim=True)).exp()[:, None]
        share = tilted / tilted.sum(dim=2, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        received = (sent * share).sum(dim=1)
        slopes, directions = torch.linalg.eigh(torch.diag_embed(received) - share.mT @ (sent * share))
        missing = (directions.mT @ (prescribed - received)[..., None])[..., 0]
        step = (directions @ torch.where(slopes > least, missing / slopes, 0.0)[..., None])[..., 0]
        longest = step.abs().amax(1, keepdim=True)
        moving &= longest >= SETTLED
        if not moving.any():
            break
        shift = torch.where(moving, shift + step * (FARTHEST / longest).clamp(max=1.0), shift)
    own = torch.arange(shift.shape[1]) < counts
    shift = torch.where(own, shift - (shift * own).sum(1, keepdim=True) / counts, 0.0)
    highest, lowest = (torch.where(own, sign * shift, -math.inf).amax(1) for sign in (1.0, -1.0))
    return shift, highest + lowest

"""SAVA: LAVA in batches, for training sets of any size.

Kessler et al. 2025. Each batch of training items is transported to each batch of validation items; then the training
batches are transported to the validation batches, with those distances as costs. The value of an item is the mean of
its dual potentials, weighted by the mass that its batch sends to each validation batch.

In the paper, an item's potential is relative to the other items of its batch, so values of different batches are not on
one scale. But the potentials of the sources follow from those of the targets, which are the same for all training
batches. Here the potentials of a validation batch are averaged over training batches, and one more pass computes every
item's potential from that average. All items are then valued on one scale, independently of their batch. The paper's
form is available beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_device, as_features, as_labels, as_seed, as_whole
from royalty.models.base.choices import SavaForm
from royalty.models.base.errors import InputError
from royalty.models.valuation.batches import (
    Batching,
    BatchTransport,
    Plan,
    Share,
    Valued,
    plan_batches,
    plan_values,
    take,
)
from royalty.models.valuation.costs import MatrixCost
from royalty.models.valuation.ground import Batch, Options
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.lava import MAX_ITERATIONS, calibrated
from royalty.models.valuation.stacked_transport import solve_transports, source_potentials, stacks
from royalty.models.valuation.transport import Transport, solve_transport


def sava_values(
    train_features: ArrayLike | Iterable[Batch],
    train_labels: ArrayLike | None,
    val_features: ArrayLike,
    val_labels: ArrayLike | None,
    *,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 0.1,
    tolerance: float = 1e-3,
    max_iterations: int = MAX_ITERATIONS,
    batch_size: int = 1024,
    stratify: bool = True,
    form: SavaForm = "joint",
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """Value each training item by optimal transport in batches; with one batch on each side this is `lava_values`.

    SAVA (Kessler et al. 2025), algorithm 1, with one change. The value of item l of batch i is
    -calibrated(sum over j of P_ij / P_i f^j_l). P is the plan of the transport between batches. f^j is the potential of
    the training items computed from the mean over i of g^ij, the potentials of validation batch j against training
    batch i. The paper uses f^ij instead of f^j and calibrates it within the batch; a batch of bad items only then has
    the same mean value as any other, and the rank of an item depends on the rest of its batch.

    Args:
        train_features: `(items, d)`, possibly a memory map; or an iterable of batches, `(features, labels)` each, that
            can be iterated over twice. Such batches are used as they are: `batch_size`, `stratify` and `seed` do not
            apply to training items.
        train_labels: integers, `(items,)`; None for batches, or without labels.
        val_features: `(validation items, d)`.
        val_labels: integers, `(validation items,)`; None if training items have none.
        epsilon, tolerance, max_iterations, feature_weight, label_weight, device: as for `lava_values`; the scale and
            the label distances are computed from all items.
        batch_size: approximate number of items in a batch.
        stratify: whether each batch has the label proportions of all items, to within one item; if False, batches are
            drawn at random.
        form: `joint`, or `paper` for the values as published (eq. 13 and 14): -sum over j of P_ij calibrated(f^ij),
            where P sums to one over all pairs of batches. They sum to zero in every batch.
        seed: of the draw of batches.
        progress: called with 1 after each batch of training items.

    Returns:
        Values, higher is better; `batches`, the number of each item's batch; and `batch_values` (eq. 9 and 10, with the
        sign reversed): the negative calibrated gradients of the transport between batches, how much closer to
        validation the set would be with more of a batch. Diagnostics: the largest `marginal_error` of a pair of
        batches; `joint_error`, the marginal error of the mean potentials on all training items (joint form only); total
        `iterations`; `distance` of the transport between batches; `batches`; `epsilon` as used; `scale`;
        `label_distances`.

    Raises:
        InputError: as for `lava_values`; batches that can be iterated over only once; a batch size below 1; an
            unknown form.
        NotConverged: the tolerance was not reached.

    Examples:
        An item that lies far from all validation items has the lowest value, whichever batch it is in:

        >>> import royalty
        >>> train, val = [[0.0], [1.0], [2.0], [3.0], [4.0], [50.0]], [[0.0], [1.0], [2.0], [3.0]]
        >>> result = royalty.sava_values(train, None, val, None, batch_size=3)
        >>> int(result.values.argmin()), result.diagnostics["batches"]
        (5, 2)
    """
    if form not in get_args(SavaForm):
        raise InputError(f"`form` is one of {', '.join(get_args(SavaForm))}; got {form!r}. Leave it out for `joint`")
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations)
    batching = Batching(as_whole(batch_size, "batch_size"), stratify, as_seed(seed))
    device = as_device(device)
    val = as_features(val_features, "val_features"), as_labels(val_labels, "val_labels")
    if _comes_in_batches(train_features):
        batches = cast(Iterable[Batch], train_features)
        _check_batches(batches, train_labels)
        shares: list[Iterable[Batch]] = [_ConvertedBatches(batches)]
        plan = plan_batches(shares[0], val, options, batching, device)
    else:
        train = as_features(cast(ArrayLike, train_features), "train_features"), as_labels(train_labels, "train_labels")
        plan = plan_values(train, val, options, batching, device)
        shares = [_ArrayBatches(train, rows) for rows in plan.shares]
    plan = replace(plan, form=form)
    solved = [solve_share(plan, share, device, progress) for share in shares]
    outer = combine_shares(plan, solved)
    if form == "paper":
        return join_as_published(plan, outer, solved)
    firsts = accumulate((len(share.sizes) for share in solved), initial=0)
    valued = [value_share(plan, outer, share, first, device) for share, first in zip(shares, firsts, strict=False)]
    return join(plan, outer, valued)


def batchwise_lava_values(
    train_features: np.ndarray,
    train_labels: np.ndarray | None,
    val_features: np.ndarray,
    val_labels: np.ndarray | None,
    *,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 0.1,
    tolerance: float = 1e-3,
    batch_size: int = 1024,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """The naive baseline of SAVA's paper: LAVA of each batch, averaged over validation batches with equal weights.

    Arguments, sign and errors are those of `sava_values`.
    """
    options = Options(label_weight, feature_weight, epsilon, tolerance, MAX_ITERATIONS)
    train = train_features, train_labels
    plan = plan_values(train, (val_features, val_labels), options, Batching(batch_size, False, seed), device)
    gradients, distances, error, iterations = [], [], 0.0, 0
    for _, row in _transports(plan, _ArrayBatches(train, plan.rows), device, progress):
        gradients.append(np.mean([calibrated(transport.source) for transport in row], axis=0))
        distances.append(np.mean([transport.distance for transport in row]))
        error = max(error, *(transport.marginal_error for transport in row))
        iterations += sum(transport.iterations for transport in row)
    solved = {"marginal_error": error, "iterations": iterations, "batches": len(gradients)}
    diagnostics = {**solved, **plan.ground.diagnostics(), "distance": float(np.mean(distances))}
    return ItemValues(-_in_order(plan, gradients), diagnostics)


def solve_share(
    plan: Plan,
    batches: Iterable[Batch],
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> Share:
    """Transport the batches of a share to each validation batch."""
    sizes, distances, duals, error, iterations = [], [], [], 0.0, 0
    sums = [np.zeros(len(val[0])) for val in plan.val]
    gradients = [np.zeros((0, len(plan.val)))]
    for items, row in _transports(plan, batches, device, progress):
        sizes.append(items)
        distances.append([transport.distance for transport in row])
        duals.append([transport.dual for transport in row])
        for total, transport in zip(sums, row, strict=True):
            total += items * (transport.target + transport.source.mean())
        if plan.form == "paper":
            gradients.append(np.stack([calibrated(transport.source) for transport in row], axis=1))
        error = max(error, *(transport.marginal_error for transport in row))
        iterations += sum(transport.iterations for transport in row)
    potentials = tuple(total / sum(sizes) for total in sums)
    counts = np.array(sizes, dtype=float)
    of_items = np.concatenate(gradients) if plan.form == "paper" else None
    return Share(counts, np.array(distances), np.array(duals), potentials, error, iterations, of_items)


def combine_shares(plan: Plan, shares: Sequence[Share]) -> BatchTransport:
    """Transport training batches to validation batches, and average the potentials of all shares, given in order."""
    distances = np.concatenate([share.distances for share in shares])  # (batches, validation batches)
    sizes = np.concatenate([share.sizes for share in shares])
    outer = transport_of_batches(plan, distances, sizes)
    targets = np.array([len(features) for features, _ in plan.val])
    sent = np.exp((outer.source[:, None] + outer.target - distances) / plan.ground.epsilon) * targets
    weights = [share.sizes.sum() for share in shares]
    return BatchTransport(
        potentials=tuple(
            np.average(potentials, axis=0, weights=weights)
            for potentials in zip(*(share.potentials for share in shares), strict=True)
        ),
        sent=sent / sent.sum(axis=1, keepdims=True),
        distance=outer.distance,
        marginal_error=max(outer.marginal_error, *(share.marginal_error for share in shares)),
        iterations=outer.iterations + sum(share.iterations for share in shares),
        sizes=sizes,
        values=-calibrated(outer.source),
    )


def transport_of_batches(plan: Plan, distances: np.ndarray, sizes: np.ndarray) -> Transport:
    """Transport training batches of these sizes to the validation batches, with their distances as costs.

    It is regularized like the transports of items, so that batches that differ by chance only are spread over all
    validation batches.
    """
    targets = np.array([len(features) for features, _ in plan.val], dtype=float)
    return solve_transport(
        MatrixCost(distances),
        sizes / sizes.sum(),
        targets / targets.sum(),
        epsilon=plan.ground.epsilon,
        tolerance=plan.ground.options.tolerance,
        max_iterations=plan.ground.options.max_iterations,
    )


def value_share(
    plan: Plan, outer: BatchTransport, batches: Iterable[Batch], first: int, device: torch.device | None = None
) -> Valued:
    """Compute the gradients of a share's items, in one pass over their costs.

    Args:
        first: the number of the share's first batch.
    """
    gradients, columns = [], [np.zeros(len(val[0])) for val in plan.val]
    for batch, sent in zip(batches, outer.sent[first:], strict=False):
        gradient = np.zeros(len(batch[0]))
        sources = _source_potentials(plan, batch, outer.potentials, device)
        for column, ((source, mass), share) in enumerate(zip(sources, sent, strict=True)):
            gradient += share * source
            columns[column] += len(gradient) * mass
        gradients.append(gradient)
    return Valued(np.concatenate(gradients), tuple(columns))


def join(plan: Plan, outer: BatchTransport, valued: Sequence[Valued]) -> ItemValues:
    """Join the gradients of all shares, given in order, into the values of the training items."""
    gradients = np.concatenate([share.gradients for share in valued])
    column_errors = [
        np.abs(sum(columns) / len(gradients) - 1 / len(columns[0])).sum()
        for columns in zip(*(share.columns for share in valued), strict=True)
    ]
    errors = {"marginal_error": outer.marginal_error, "joint_error": float(max(column_errors))}
    iterations = outer.iterations + outer.sent.size
    return _in_batches(plan, outer, -calibrated(_in_order(plan, [gradients])), {**errors, "iterations": iterations})


def join_as_published(plan: Plan, outer: BatchTransport, shares: Iterable[Share]) -> ItemValues:
    """Values in the paper's form, from the transports of all shares, given in order; no pass over the costs."""
    plan_of_batches = outer.sent * (outer.sizes / outer.sizes.sum())[:, None]  # sums to one
    weights = np.repeat(plan_of_batches, outer.sizes.astype(int), axis=0)  # (items, validation batches)
    gradients = np.concatenate([share.gradients for share in shares if share.gradients is not None])
    values = -_in_order(plan, [(weights * gradients).sum(axis=1)])
    return _in_batches(plan, outer, values, {"marginal_error": outer.marginal_error, "iterations": outer.iterations})


def _in_batches(plan: Plan, outer: BatchTransport, values: np.ndarray, solved: dict[str, Any]) -> ItemValues:
    """Values with those of the batches, and all diagnostics."""
    numbers = np.repeat(np.arange(len(outer.sizes)), outer.sizes.astype(int))
    described = {"batches": len(outer.sizes), **plan.ground.diagnostics(), "distance": outer.distance}
    return ItemValues(values, {**solved, **described}, batches=_in_order(plan, [numbers]), batch_values=outer.values)


@dataclass(frozen=True)
class _ArrayBatches:
    """Batches of arrays, read on each iteration."""

    train: tuple[np.ndarray, np.ndarray | None]
    rows: Sequence[np.ndarray]

    def __iter__(self) -> Iterator[Batch]:
        return (take(self.train, rows) for rows in self.rows)


@dataclass(frozen=True)
class _ConvertedBatches:
    """The caller's batches, converted to arrays on each iteration."""

    batches: Iterable[Batch]

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise InputError(
                    f"a batch is a pair, (features, labels); got a {type(batch).__name__}. Give (features, None) for "
                    "items without labels"
                )
            yield as_features(batch[0], "features of a batch"), as_labels(batch[1], "labels of a batch")


def _transports(
    plan: Plan, batches: Iterable[Batch], device: torch.device | None, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, list[Transport]]]:
    """The number of items of each batch, and its transports to all validation batches.

    Each transport starts from the potential of the previous training batch, since batches are similar.
    """
    settings: dict[str, Any] = {
        "epsilon": plan.ground.epsilon,
        "tolerance": plan.ground.options.tolerance,
        "max_iterations": plan.ground.options.max_iterations,
    }
    starts: list[np.ndarray] | None = None
    for batch in batches:
        solved: dict[int, Transport] = {}
        for chosen in stacks(len(batch[0]), [len(val[0]) for val in plan.val], device):
            costs = [plan.ground.cost(batch, plan.val[column], device) for column in chosen]
            first = None if starts is None else [starts[column] for column in chosen]
            together = solve_transports(costs, *_uniform(batch, plan.val[chosen[0]]), **settings, starts=first)
            solved |= zip(chosen, together, strict=True)
        row = [solved[column] for column in range(len(plan.val))]
        starts = [transport.target for transport in row]
        yield len(batch[0]), row
        if progress is not None:
            progress(1)


def _source_potentials(
    plan: Plan, batch: Batch, targets: Sequence[np.ndarray], device: torch.device | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each validation batch, potentials of a training batch and masses of columns: see `source_potential`."""
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for chosen in stacks(len(batch[0]), [len(val[0]) for val in plan.val], device):
        costs = [plan.ground.cost(batch, plan.val[column], device) for column in chosen]
        of_these = [targets[column] for column in chosen]
        pairs = source_potentials(costs, *_uniform(batch, plan.val[chosen[0]]), of_these, plan.ground.epsilon)
        found |= zip(chosen, zip(*pairs, strict=True), strict=True)
    yield from (found[column] for column in range(len(plan.val)))


def _uniform(train: Batch, val: Batch) -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(train[0]), 1 / len(train[0])), np.full(len(val[0]), 1 / len(val[0]))


def _comes_in_batches(train: ArrayLike | Iterable[Batch]) -> bool:
    """Whether the argument is batches, (features, labels) each, rather than the rows of one array.

    A row of two numbers is told from a batch by its first entry: features have a length, a number has none.
    """
    if hasattr(train, "__array__"):
        return False
    if not isinstance(train, Sequence):
        return isinstance(train, Iterable)
    first: Any = train[0] if len(train) else ([], None)
    return isinstance(first, tuple | list) and len(first) == 2 and hasattr(first[0], "__len__")


def _check_batches(train: Iterable[Batch], labels: ArrayLike | None) -> None:
    if iter(train) is train:
        raise InputError(
            "batches are read twice, for the label distances and for the values; give something that can be iterated "
            "over again, such as a list, or an object whose __iter__ opens the file"
        )
    if labels is not None:
        raise InputError("batches bring their labels, (features, labels) each; leave train_labels at None")


def _in_order(plan: Plan, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate the numbers of all batches and bring them into the order of the training items, `(items,)`."""
    numbers = np.concatenate(parts)
    if not plan.shares:
        return numbers
    ordered = np.empty_like(numbers)
    ordered[np.concatenate(plan.rows)] = numbers
    return ordered

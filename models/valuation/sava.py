"""SAVA: LAVA in batches, for training sets of any size.

Kessler et al. 2025. Each batch of training items is transported to each batch of validation items, and then the
batches of one side to those of the other, at the cost of those distances. An item is valued by the dual potentials
of its batch, weighted by where its batch goes.

Those of the paper say what an item is worth among the thousand of its batch, and each batch has drawn its own
thousand. But a dual potential of the sources follows from that of the targets, and the targets are the same for all
training batches. So the potentials of a validation batch are averaged over training batches before one more pass
gives every item its own: all items are then judged by the same, on one scale, whatever batch they came in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, islice

import numpy as np
import torch

from models.errors import InputError
from models.serialization import pack, unpack
from models.valuation.ground import Batch, Ground, Options, chunks, survey
from models.valuation.items import ItemValues
from models.valuation.lava import MAX_ITERATIONS, calibrated
from models.valuation.transport import MatrixCost, Transport, solve_transport, source_potential

SHARE = 16
"""Batches of training items that are valued one after the other, each starting where the last one ended."""

Rows = tuple[np.ndarray, ...]
"""Sorted positions of the items of each batch."""


@dataclass(frozen=True)
class Batching:
    """How items are divided into batches; see `sava_values`.

    Raises:
        InputError: a batch size below 1.
    """

    size: int
    stratify: bool
    seed: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"a batch has at least 1 item, got a batch size of {self.size}")

    def rows(self, items: int, labels: np.ndarray | None) -> Rows:
        """Batches of one size to the next item."""
        count = -(-items // self.size)
        order = np.random.default_rng(self.seed).permutation(items)
        if self.stratify and labels is not None:
            order = order[np.argsort(labels[order], kind="stable")]
        # Neighbours in the order go to different batches, so a label is dealt out evenly.
        return tuple(np.sort(order[batch::count]) for batch in range(count))


@dataclass(frozen=True)
class Plan:
    """What all shares of the work have in common.

    Attributes:
        ground: of the cost.
        val: batches of validation items.
        shares: rows of each batch of training items, by share of the work; none where batches are given.
    """

    ground: Ground
    val: tuple[Batch, ...]
    shares: tuple[Rows, ...]

    @property
    def rows(self) -> Rows:
        """Of all batches."""
        return tuple(batch for share in self.shares for batch in share)

    def common(self) -> Plan:
        """What a transport of any training batch depends on beside that batch."""
        return replace(self, ground=replace(self.ground, items=0), shares=())

    def to_bytes(self) -> bytes:
        arrays = {"centre": self.ground.centre, "label_distances": self.ground.label_distances}
        if self.ground.labels is not None:
            arrays["labels"] = self.ground.labels
        for index, (features, labels) in enumerate(self.val):
            arrays[f"val {index}"] = features
            if labels is not None:
                arrays[f"val labels {index}"] = labels
        for index, rows in enumerate(self.rows):
            arrays[f"rows {index}"] = rows
        numbers = {"scale": self.ground.scale, "epsilon": self.ground.epsilon, "items": self.ground.items}
        counts = {"val": len(self.val), "shares": [len(share) for share in self.shares]}
        return pack(arrays, {"options": asdict(self.ground.options), "ground": numbers, "counts": counts})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Plan:
        arrays, kept = unpack(payload)
        ground = Ground(
            options=Options(**kept["options"]),
            **kept["ground"],
            centre=arrays["centre"],
            labels=arrays.get("labels"),
            label_distances=arrays["label_distances"],
        )
        counts = kept["counts"]
        val = tuple((arrays[f"val {index}"], arrays.get(f"val labels {index}")) for index in range(counts["val"]))
        rows = (arrays[f"rows {index}"] for index in range(sum(counts["shares"])))
        return cls(ground, val, tuple(tuple(islice(rows, count)) for count in counts["shares"]))


@dataclass(frozen=True)
class Share:
    """What transport of some batches of training items to all of validation found.

    Attributes:
        sizes: items of each batch, `(batches,)`.
        distances, duals: `(batches, validation batches)`, transport cost, and value with its entropy.
        potentials: float64, for each validation batch `(items,)`, the mean of its potentials over the training
            items, each at the level that gives the sources' potentials a mean of zero.
        marginal_error: the largest.
        iterations: passes over the costs, in all.
    """

    sizes: np.ndarray
    distances: np.ndarray
    duals: np.ndarray
    potentials: tuple[np.ndarray, ...]
    marginal_error: float
    iterations: int

    def to_bytes(self) -> bytes:
        arrays = {f"potentials {index}": own for index, own in enumerate(self.potentials)}
        numbers = {"marginal_error": self.marginal_error, "iterations": self.iterations}
        return pack({**arrays, "sizes": self.sizes, "distances": self.distances, "duals": self.duals}, numbers)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Share:
        arrays, numbers = unpack(payload)
        distances = arrays["distances"]
        potentials = tuple(arrays[f"potentials {index}"] for index in range(distances.shape[1]))
        return cls(arrays["sizes"], distances, arrays["duals"], potentials, **numbers)


@dataclass(frozen=True)
class Agreement:
    """What all shares together say, by which every item is valued.

    Attributes:
        potentials: for each validation batch `(items,)`, the mean over all training items.
        sent: `(batches, validation batches)`, where each batch goes: rows sum to one.
        distance: of the transport of batches.
        marginal_error: the largest of all transports.
        iterations: passes over the costs, in all.
    """

    potentials: tuple[np.ndarray, ...]
    sent: np.ndarray
    distance: float
    marginal_error: float
    iterations: int

    def to_bytes(self) -> bytes:
        arrays = {f"potentials {index}": own for index, own in enumerate(self.potentials)}
        numbers = {name: getattr(self, name) for name in ("distance", "marginal_error", "iterations")}
        return pack({**arrays, "sent": self.sent}, numbers)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Agreement:
        arrays, numbers = unpack(payload)
        sent = arrays["sent"]
        return cls(tuple(arrays[f"potentials {index}"] for index in range(sent.shape[1])), sent, **numbers)


def sava_values(
    train_features: np.ndarray | Iterable[Batch],
    train_labels: np.ndarray | None,
    val_features: np.ndarray,
    val_labels: np.ndarray | None,
    *,
    label_weight: float = 1.0,
    feature_weight: float = 1.0,
    epsilon: float = 0.1,
    tolerance: float = 1e-3,
    max_iterations: int = MAX_ITERATIONS,
    batch_size: int = 1024,
    stratify: bool = True,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """Value of each training item; higher is better, and one batch a side gives `lava_values`.

    For item l of batch i: -calibrated(sum over j of P_ij / P_i f^j_l), with P the plan of the transport of batches and
    f^j the potential of the training items that the mean over i of g^ij leads to, g^ij being those of validation batch
    j against training batch i. In the paper f^ij takes the place of f^j and is calibrated within its batch, so
    that a batch of nothing but bad items is worth as much as any other, and one of 1,000 ranks its items
    by what else it happens to hold.

    Args:
        train_features: `(items, d)`, a memory map too; or batches, `(features, labels)` each, that can be
            iterated over twice: they are taken as they come, so that neither order nor size is chosen here.
        train_labels: `(items,)`; None for batches, or without labels.
        epsilon, tolerance, feature_weight, label_weight: as of `lava_values`; the scale and the label distances are
            those of all items.
        batch_size: items of a batch, about; all, if there are fewer.
        stratify: every batch has the share of each label that all items have, to the next item; else
            items are drawn for it at random.
        seed: of the draw of batches.
        progress: called with 1 after each batch of training items.

    Returns:
        Values with the largest `marginal_error` of a pair of batches, `joint_error` of the mean potentials on all
        training items, `iterations` in all, `distance` of the batches' transport, `batches`, `epsilon` as used,
        `scale`, `label_distances`.

    Raises:
        InputError: as of `lava_values`; batches that can be iterated over only once; a batch size below 1.
        NotConverged: the tolerance was not reached.
    """
    options = Options(label_weight, feature_weight, epsilon, tolerance, max_iterations)
    batching = Batching(batch_size, stratify, seed)
    if isinstance(train_features, np.ndarray):
        train = train_features, train_labels
        plan = plan_values(train, (val_features, val_labels), options, batching, device)
        shares: list[Iterable[Batch]] = [_Taken(train, rows) for rows in plan.shares]
    else:
        _check_batches(train_features, train_labels)
        plan = plan_batches(train_features, (val_features, val_labels), options, batching, device)
        shares = [train_features]
    solved = [solve_share(plan, share, device, progress) for share in shares]
    agreed = agree(plan, solved)
    firsts = accumulate((len(share.sizes) for share in solved), initial=0)
    return join(
        plan, agreed, [value_share(plan, agreed, *given, device) for given in zip(shares, firsts, strict=False)]
    )


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
    """The naive baseline of SAVA's paper: LAVA of each batch, averaged over validation batches alike.

    Arguments, sign and errors are those of `sava_values`.
    """
    options = Options(label_weight, feature_weight, epsilon, tolerance, MAX_ITERATIONS)
    train = train_features, train_labels
    plan = plan_values(train, (val_features, val_labels), options, Batching(batch_size, False, seed), device)
    gradients, distances, error, iterations = [], [], 0.0, 0
    for _, row in _transports(plan, _Taken(train, plan.rows), device, progress):
        gradients.append(np.mean([calibrated(found.source) for found in row], axis=0))
        distances.append(np.mean([found.distance for found in row]))
        error = max(error, *(found.marginal_error for found in row))
        iterations += sum(found.iterations for found in row)
    solved = {"marginal_error": error, "iterations": iterations, "batches": len(gradients)}
    found = {**solved, **plan.ground.diagnostics(), "distance": float(np.mean(distances))}
    return ItemValues(-_in_order(plan, gradients), found)


def plan_values(
    train: tuple[np.ndarray, np.ndarray | None],
    val: Batch,
    options: Options,
    batching: Batching,
    device: torch.device | None = None,
) -> Plan:
    """Look at all items once, and divide them into batches; see `sava_values`."""
    ground = survey(chunks(*train), val, options, seed=batching.seed, device=device)
    return Plan(ground, _val_batches(val, batching), _in_shares(batching.rows(len(train[0]), train[1])))


def plan_batches(
    train: Iterable[Batch], val: Batch, options: Options, batching: Batching, device: torch.device | None = None
) -> Plan:
    """Look at all items of given batches once; see `sava_values`."""
    ground = survey(train, val, options, seed=batching.seed, device=device)
    return Plan(ground, _val_batches(val, batching), ())


def extend_plan(
    plan: Plan, before: Sequence[str], after: Sequence[str], labels: np.ndarray | None, batching: Batching
) -> tuple[Plan, int]:
    """The plan for a training set that has changed, with the batches that are still whole as they were.

    Cost, scale and label distances stay those of the plan, so that what was found for those batches still holds. Items
    that are new, or whose batch has lost one, come into batches of their own.

    Args:
        before, after: what tells items apart, such as id and label, in the order of the training items then and now.
        labels: of the items now.

    Returns:
        The plan, and how many of its first shares are as they were.
    """
    places: dict[str, list[int]] = {}
    for row in reversed(range(len(after))):
        places.setdefault(after[row], []).append(row)
    left = np.ones(len(after), dtype=bool)
    kept = []
    for share in plan.shares:
        wanted = [before[row] for batch in share for row in batch]
        needed = Counter(wanted)
        if all(len(places.get(name, ())) >= count for name, count in needed.items()):
            rows = iter([places[name].pop() for name in wanted])
            kept.append(tuple(np.array(list(islice(rows, len(batch)))) for batch in share))
            left[np.concatenate(kept[-1])] = False
    fresh = np.flatnonzero(left)
    added = batching.rows(len(fresh), None if labels is None else labels[fresh]) if len(fresh) else ()
    shares = (*kept, *_in_shares(tuple(fresh[batch] for batch in added)))
    return replace(plan, ground=replace(plan.ground, items=len(after)), shares=shares), len(kept)


def _in_shares(batches: Rows) -> tuple[Rows, ...]:
    return tuple(batches[start : start + SHARE] for start in range(0, len(batches), SHARE))


def take(train: tuple[np.ndarray, np.ndarray | None], rows: np.ndarray) -> Batch:
    """The items of one batch; of a memory map, nothing else is read."""
    return np.asarray(train[0][rows]), None if train[1] is None else np.asarray(train[1][rows])


def solve_share(
    plan: Plan,
    batches: Iterable[Batch],
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> Share:
    """Transport some batches of training items to each of validation."""
    sizes, distances, duals, error, iterations = [], [], [], 0.0, 0
    sums = [np.zeros(len(val[0])) for val in plan.val]
    for items, row in _transports(plan, batches, device, progress):
        sizes.append(items)
        distances.append([found.distance for found in row])
        duals.append([found.dual for found in row])
        for total, found in zip(sums, row, strict=True):
            total += items * (found.target + found.source.mean())
        error = max(error, *(found.marginal_error for found in row))
        iterations += sum(found.iterations for found in row)
    potentials = tuple(total / sum(sizes) for total in sums)
    counts = np.array(sizes, dtype=float)
    return Share(counts, np.array(distances), np.array(duals), potentials, error, iterations)


def agree(plan: Plan, shares: Sequence[Share]) -> Agreement:
    """Transport the batches, and average the potentials; shares in their order."""
    distances = np.concatenate([share.distances for share in shares])  # (batches, validation batches)
    outer = transport_of_batches(plan, distances, np.concatenate([share.sizes for share in shares]))
    targets = np.array([len(features) for features, _ in plan.val])
    sent = np.exp((outer.source[:, None] + outer.target - distances) / plan.ground.epsilon) * targets
    weights = [share.sizes.sum() for share in shares]
    return Agreement(
        potentials=tuple(
            np.average(own, axis=0, weights=weights) for own in zip(*(s.potentials for s in shares), strict=True)
        ),
        sent=sent / sent.sum(axis=1, keepdims=True),
        distance=outer.distance,
        marginal_error=max(outer.marginal_error, *(share.marginal_error for share in shares)),
        iterations=outer.iterations + sum(share.iterations for share in shares),
    )


def transport_of_batches(plan: Plan, distances: np.ndarray, sizes: np.ndarray) -> Transport:
    """Transport training batches of these sizes to those of validation, at the cost of their distances.

    Smoothed as that of items is, so that batches which differ by chance alone all go everywhere.
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


@dataclass(frozen=True)
class Valued:
    """Gradients of the items of some batches.

    Attributes:
        gradients: float64, `(items,)`, batch by batch.
        columns: for each validation batch `(items,)`, the mass that these training items send to each, all of
            them having one.
    """

    gradients: np.ndarray
    columns: tuple[np.ndarray, ...]

    def to_bytes(self) -> bytes:
        arrays = {f"columns {index}": own for index, own in enumerate(self.columns)}
        return pack({**arrays, "gradients": self.gradients}, {"columns": len(self.columns)})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Valued:
        arrays, numbers = unpack(payload)
        return cls(arrays["gradients"], tuple(arrays[f"columns {index}"] for index in range(numbers["columns"])))


def value_share(
    plan: Plan, agreed: Agreement, batches: Iterable[Batch], first: int, device: torch.device | None = None
) -> Valued:
    """One pass over the costs of some batches, of which the first has this number."""
    gradients, columns = [], [np.zeros(len(val[0])) for val in plan.val]
    for batch, sent in zip(batches, agreed.sent[first:], strict=False):
        own = np.zeros(len(batch[0]))
        for column, (val, target, share) in enumerate(zip(plan.val, agreed.potentials, sent, strict=True)):
            cost = plan.ground.cost(batch, val, device)
            source, mass = source_potential(cost, *_uniform(batch, val), target, plan.ground.epsilon)
            own += share * source
            columns[column] += len(own) * mass
        gradients.append(own)
    return Valued(np.concatenate(gradients), tuple(columns))


def join(plan: Plan, agreed: Agreement, valued: Sequence[Valued]) -> ItemValues:
    """Put the values together, of shares in their order."""
    together = np.concatenate([share.gradients for share in valued])
    wrong = [
        np.abs(sum(columns) / len(together) - 1 / len(columns[0])).sum()
        for columns in zip(*(share.columns for share in valued), strict=True)
    ]
    return ItemValues(
        -calibrated(_in_order(plan, [together])),
        {
            "marginal_error": agreed.marginal_error,
            "joint_error": float(max(wrong)),
            "iterations": agreed.iterations + agreed.sent.size,
            "batches": len(agreed.sent),
            **plan.ground.diagnostics(),
            "distance": agreed.distance,
        },
    )


@dataclass(frozen=True)
class _Taken:
    """Batches of arrays, taken when they are asked for, as often as they are."""

    train: tuple[np.ndarray, np.ndarray | None]
    rows: Sequence[np.ndarray]

    def __iter__(self) -> Iterator[Batch]:
        return (take(self.train, rows) for rows in self.rows)


def _transports(
    plan: Plan, batches: Iterable[Batch], device: torch.device | None, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, list[Transport]]]:
    """The number of items of each batch, and its transports to all of validation.

    The potential of a validation batch starts where the last training batch left it: batches are alike.
    """
    starts: list[np.ndarray | None] = [None] * len(plan.val)
    for batch in batches:
        row = []
        for column, val in enumerate(plan.val):
            found = solve_transport(
                plan.ground.cost(batch, val, device),
                *_uniform(batch, val),
                epsilon=plan.ground.epsilon,
                tolerance=plan.ground.options.tolerance,
                max_iterations=plan.ground.options.max_iterations,
                start=starts[column],
            )
            starts[column] = found.target
            row.append(found)
        yield len(batch[0]), row
        if progress is not None:
            progress(1)


def _uniform(train: Batch, val: Batch) -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(train[0]), 1 / len(train[0])), np.full(len(val[0]), 1 / len(val[0]))


def _check_batches(train: Iterable[Batch], labels: np.ndarray | None) -> None:
    if iter(train) is train:
        raise InputError(
            "batches are read twice, for the label distances and for the values; give something that can be iterated "
            "over again, such as a list, or an object whose __iter__ opens the file"
        )
    if labels is not None:
        raise InputError("batches bring their labels, (features, labels) each; leave train_labels at None")


def _val_batches(val: Batch, batching: Batching) -> tuple[Batch, ...]:
    return tuple(take(val, rows) for rows in batching.rows(len(val[0]), val[1]))


def _in_order(plan: Plan, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers of all batches in the order of the training items, `(items,)`."""
    together = np.concatenate(parts)
    if not plan.shares:
        return together
    ordered = np.empty_like(together)
    ordered[np.concatenate(plan.rows)] = together
    return ordered

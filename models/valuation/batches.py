"""The data of a valuation in batches: the plan, the shares of the work and their results, all serializable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from royalty.models.base.choices import SavaForm
from royalty.models.base.errors import InputError
from royalty.models.base.serialization import open_packed, pack, packed_pieces, unpack
from royalty.models.valuation.ground import Batch, Ground, Options, chunks, survey
from royalty.models.valuation.memory import check_fits

SHARE = 16
"""Batches of training items in a share of the work. They are solved in turn, each from the potentials of the last."""

PAIR_BYTES = 64
"""Memory for a pair of batches: distance, dual value, coupling, and intermediate results of their transport."""

BatchPositions = tuple[np.ndarray, ...]
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

    def check_pairs(self, items: int, val_items: int) -> None:
        """Check that the pairs of training and validation batches fit in memory.

        Raises:
            InputError: they do not; the message has both numbers of batches.
        """
        counts = (-(-count // self.size) for count in (items, val_items))
        check_fits(
            f"distances of training batches from validation batches of {self.size} items",
            *counts,
            bytes_each=PAIR_BYTES,
            remedy="Take a larger `batch_size`",
        )

    def rows(self, items: int, labels: np.ndarray | None) -> BatchPositions:
        """Divide items into batches whose sizes differ by at most one."""
        count = -(-items // self.size)
        order = np.random.default_rng(self.seed).permutation(items)
        if self.stratify and labels is not None:
            order = order[np.argsort(labels[order], kind="stable")]
        # Neighbours in the order go to different batches, so the items of a label are spread evenly.
        return tuple(np.sort(order[batch::count]) for batch in range(count))


@dataclass(frozen=True)
class Plan:
    """The data that all shares of the work use.

    Attributes:
        ground: the ground cost.
        val: batches of validation items.
        shares: for each share of the work, the positions of its batches of training items; empty if the caller
            provided batches.
        form: how values follow from the transports; see `royalty.models.valuation.sava.sava_values`.
    """

    ground: Ground
    val: tuple[Batch, ...]
    shares: tuple[BatchPositions, ...]
    form: SavaForm = "joint"

    @property
    def rows(self) -> BatchPositions:
        """Positions of the items of all batches."""
        return tuple(batch for share in self.shares for batch in share)

    def common(self) -> Plan:
        """The part of the plan that the transport of a training batch depends on."""
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
        options = asdict(self.ground.options)
        return pack(arrays, {"options": options, "ground": numbers, "counts": counts, "form": self.form})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Plan:
        arrays, description = unpack(payload)
        ground = Ground(
            options=Options(**description["options"]),
            **description["ground"],
            centre=arrays["centre"],
            labels=arrays.get("labels"),
            label_distances=arrays["label_distances"],
        )
        counts = description["counts"]
        val = tuple((arrays[f"val {index}"], arrays.get(f"val labels {index}")) for index in range(counts["val"]))
        rows = (arrays[f"rows {index}"] for index in range(sum(counts["shares"])))
        # Plans of earlier versions lack the form.
        form = description.get("form", "joint")
        return cls(ground, val, tuple(tuple(islice(rows, count)) for count in counts["shares"]), form)


@dataclass(frozen=True)
class Share:
    """The transports of a share's batches of training items to all validation batches.

    Attributes:
        sizes: items of each batch, `(batches,)`.
        distances, duals: `(batches, validation batches)`, transport cost, and value of the regularized problem.
        potentials: float64, for each validation batch `(items,)`, its mean potential over the training items, with the
            constant that gives the sources' potentials a mean of zero.
        marginal_error: the largest of all transports.
        iterations: total passes over the costs.
        gradients: in the paper's form, `(items, validation batches)`, batch by batch, the calibrated gradients of each
            item within its batch; None in the joint form, which has no use for them.
    """

    sizes: np.ndarray
    distances: np.ndarray
    duals: np.ndarray
    potentials: tuple[np.ndarray, ...]
    marginal_error: float
    iterations: int
    gradients: np.ndarray | None = None

    def to_bytes(self) -> bytes:
        arrays = {f"potentials {index}": potential for index, potential in enumerate(self.potentials)}
        arrays |= {"sizes": self.sizes, "distances": self.distances, "duals": self.duals}
        if self.gradients is not None:
            arrays["gradients"] = self.gradients
        return pack(arrays, {"marginal_error": self.marginal_error, "iterations": self.iterations})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Share:
        arrays, numbers = unpack(payload)
        distances = arrays["distances"]
        potentials = tuple(arrays[f"potentials {index}"] for index in range(distances.shape[1]))
        return cls(
            arrays["sizes"], distances, arrays["duals"], potentials, **numbers, gradients=arrays.get("gradients")
        )


@dataclass(frozen=True)
class BatchTransport:
    """The transport between batches and the mean potentials of all shares, from which every item is valued.

    Attributes:
        potentials: for each validation batch `(items,)`, the mean over all training items.
        sent: `(batches, validation batches)`, the fraction of a training batch's mass sent to each; rows sum to one.
        distance: of the transport between batches.
        marginal_error: the largest of all transports.
        iterations: total passes over the costs.
        sizes: items of each batch, `(batches,)`.
        values: of the batches, `(batches,)`, higher is better (SAVA, eq. 9 and 10, with the sign reversed).
    """

    potentials: tuple[np.ndarray, ...]
    sent: np.ndarray
    distance: float
    marginal_error: float
    iterations: int
    sizes: np.ndarray
    values: np.ndarray

    def to_bytes(self) -> bytes:
        arrays = {f"potentials {index}": potential for index, potential in enumerate(self.potentials)}
        numbers = {name: getattr(self, name) for name in ("distance", "marginal_error", "iterations")}
        return pack({**arrays, "sent": self.sent, "sizes": self.sizes, "values": self.values}, numbers)

    @classmethod
    def from_bytes(cls, payload: bytes) -> BatchTransport:
        arrays, numbers = unpack(payload)
        potentials = tuple(arrays[f"potentials {index}"] for index in range(arrays["sent"].shape[1]))
        return cls(potentials, arrays["sent"], **numbers, sizes=arrays["sizes"], values=arrays["values"])


@dataclass(frozen=True)
class Valued:
    """Gradients of the items of a share's batches.

    Attributes:
        gradients: float64, `(items,)`, batch by batch.
        columns: for each validation batch `(items,)`, the mass that its items receive if each training item sends one.
    """

    gradients: np.ndarray
    columns: tuple[np.ndarray, ...]

    def to_bytes(self) -> bytes:
        arrays = {f"columns {index}": column for index, column in enumerate(self.columns)}
        return pack({**arrays, "gradients": self.gradients}, {"columns": len(self.columns)})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Valued:
        arrays, numbers = unpack(payload)
        return cls(arrays["gradients"], tuple(arrays[f"columns {index}"] for index in range(numbers["columns"])))


def plan_values(
    train: tuple[np.ndarray, np.ndarray | None],
    val: Batch,
    options: Options,
    batching: Batching,
    device: torch.device | None = None,
) -> Plan:
    """Survey all items in one pass, and divide them into batches; see `sava_values`."""
    batching.check_pairs(len(train[0]), len(val[0]))
    ground = survey(chunks(*train), val, options, seed=batching.seed, device=device)
    return Plan(ground, _val_batches(val, batching), _in_shares(batching.rows(len(train[0]), train[1])))


def plan_batches(
    train: Iterable[Batch], val: Batch, options: Options, batching: Batching, device: torch.device | None = None
) -> Plan:
    """Survey the items of the caller's batches in one pass; see `sava_values`."""
    ground = survey(train, val, options, seed=batching.seed, device=device)
    return Plan(ground, _val_batches(val, batching), ())


def extend_plan(
    plan: Plan, before: Sequence[str], after: Sequence[str], labels: np.ndarray | None, batching: Batching
) -> tuple[Plan, int]:
    """Extend a plan to a changed training set; shares whose items are all still there stay unchanged.

    Cost, scale and label distances stay those of the plan, so that the results of unchanged shares remain valid. New
    items, and those of shares that lost an item, form new batches.

    Args:
        before, after: a key for each training item, such as id and label, in the old and the new order.
        labels: of the new items.

    Returns:
        The plan, and the number of unchanged shares, which come first.
    """
    positions: dict[str, list[int]] = {}
    for row in reversed(range(len(after))):
        positions.setdefault(after[row], []).append(row)
    unassigned = np.ones(len(after), dtype=bool)
    unchanged = []
    for share in plan.shares:
        keys = [before[row] for batch in share for row in batch]
        needed = Counter(keys)
        if all(len(positions.get(key, ())) >= count for key, count in needed.items()):
            rows = iter([positions[key].pop() for key in keys])
            unchanged.append(tuple(np.array(list(islice(rows, len(batch)))) for batch in share))
            unassigned[np.concatenate(unchanged[-1])] = False
    new = np.flatnonzero(unassigned)
    added = batching.rows(len(new), None if labels is None else labels[new]) if len(new) else ()
    shares = (*unchanged, *_in_shares(tuple(new[batch] for batch in added)))
    return replace(plan, ground=replace(plan.ground, items=len(after)), shares=shares), len(unchanged)


def _in_shares(batches: BatchPositions) -> tuple[BatchPositions, ...]:
    return tuple(batches[start : start + SHARE] for start in range(0, len(batches), SHARE))


def take(train: tuple[np.ndarray, np.ndarray | None], rows: np.ndarray) -> Batch:
    """The items of one batch; of a memory map only these rows are read."""
    return np.asarray(train[0][rows]), None if train[1] is None else np.asarray(train[1][rows])


def share_pieces(train: tuple[np.ndarray, np.ndarray | None], share: BatchPositions) -> Iterator[bytes]:
    """Serialize the items of a share's batches, so that its worker reads no others; see `open_share`."""
    features, labels = take(train, np.concatenate(share))
    arrays = {"features": features} if labels is None else {"features": features, "labels": labels}
    return packed_pieces(arrays, {"sizes": [len(rows) for rows in share]})


def open_share(path: Path) -> list[Batch]:
    """The batches that `share_pieces` serialized, memory-mapped."""
    arrays, description = open_packed(path)
    ends = np.cumsum(description["sizes"])[:-1]
    features = np.split(arrays["features"], ends)
    labels = np.split(arrays["labels"], ends) if "labels" in arrays else [None] * len(features)
    return list(zip(features, labels, strict=True))


def _val_batches(val: Batch, batching: Batching) -> tuple[Batch, ...]:
    return tuple(take(val, rows) for rows in batching.rows(len(val[0]), val[1]))

"""The ground cost of LAVA: the distance of a training item from a validation item, by features and by label.

C((x, y), (x', y')) = feature_weight |x - x'| + label_weight W(mu_t(.|y), mu_v(.|y')) (LAVA, eq. 1), where W is the
transport distance between the features of all training items of label y and of all validation items of label y'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch

from royalty.models.base.arrays import as_number
from royalty.models.base.checks import check_features, check_finite, check_labels, check_told_apart, check_unseen
from royalty.models.base.choices import SolverName
from royalty.models.base.errors import InputError
from royalty.models.base.optional import check_installed
from royalty.models.valuation.content import Sample, content_keys, sampled, with_labels
from royalty.models.valuation.costs import PointCost
from royalty.models.valuation.memory import check_fits
from royalty.models.valuation.transport import solve_transport

CLASS_SAMPLE = 2000
"""Largest number of distinct items of a label, on each side, that a label distance is computed from."""

SCALE_SAMPLE = 1000
"""Largest number of distinct items on each side that the scale of the cost is computed from."""

CONSTANT = 1e-12
"""Deviation, as a fraction of the mean absolute value, up to which numbers are equal but for rounding."""

CHUNK = 65_536
"""Rows read at a time."""

LABEL_BYTES = 32
"""Memory for a pair of a label and a validation item: distance, mass, and intermediate results."""

Batch = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Options:
    """The settings of a transport; see `royalty.models.valuation.lava.lava_values`.

    Raises:
        InputError: a value out of range, or a solver that is not installed.
    """

    label_weight: float
    feature_weight: float
    epsilon: float
    tolerance: float
    max_iterations: int
    solver: SolverName = "royalty"

    def __post_init__(self) -> None:
        if self.solver not in get_args(SolverName):
            raise InputError(f"`solver` is one of {', '.join(get_args(SolverName))}; got {self.solver!r}. Leave it out")
        if self.solver == "geomloss":
            check_installed("geomloss", "geomloss", "`solver: geomloss`")
        for name in ("label_weight", "feature_weight", "epsilon", "tolerance", "max_iterations"):
            as_number(getattr(self, name), name)
        for name in ("epsilon", "tolerance", "feature_weight", "max_iterations"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(
                    f"{name} is a finite number above 0, got {getattr(self, name)}; leave it out for the default"
                )
        if self.tolerance >= 2:
            raise InputError(
                f"tolerance, a marginal error, lies in (0, 2); got {self.tolerance}. Leave it out for 0.001"
            )
        if not (np.isfinite(self.label_weight) and self.label_weight >= 0):
            raise InputError(
                f"label_weight is a finite number, 0 or above, got {self.label_weight}; 0 compares features alone"
            )


@dataclass(frozen=True)
class Ground:
    """The parameters that all costs of one valuation share.

    Attributes:
        options: the settings.
        scale: standard deviation of the cost between a training and a validation item.
        epsilon: weight of the entropy, in units of the cost.
        centre: `(d,)`, mean of the validation features.
        labels: distinct validation labels, sorted, `(labels,)`; None: only features are compared.
        label_distances: `(labels, labels)`, of training labels (rows) from validation labels, at least 0.
        items: number of training items.
    """

    options: Options
    scale: float
    epsilon: float
    centre: np.ndarray
    labels: np.ndarray | None
    label_distances: np.ndarray
    items: int

    def cost(self, train: Batch, val: Batch, device: torch.device | None = None) -> PointCost:
        offsets = groups = targets = None
        if self.labels is not None and train[1] is not None and val[1] is not None:
            groups, targets = np.searchsorted(self.labels, train[1]), np.searchsorted(self.labels, val[1])
            offsets = self.options.label_weight * self.label_distances[:, targets]
        return PointCost(
            train[0],
            val[0],
            feature_weight=self.options.feature_weight,
            offsets=offsets,
            groups=groups,
            target_groups=targets,
            centre=self.centre,
            scale=self.scale,
            device=device,
        )

    def diagnostics(self) -> dict[str, Any]:
        return {
            "epsilon": self.epsilon,
            "scale": self.scale,
            "labels": "compared" if self.labels is not None else "off: items without labels",
            "label_distances": self.label_distances.tolist(),
        }


def survey(
    train: Iterable[Batch], val: Batch, options: Options, *, seed: int = 0, device: torch.device | None = None
) -> Ground:
    """Check all training items in one pass, and compute the scale of the cost and the label distances.

    Label distances are debiased, so that the distance of a label from itself is zero:
    W(mu, nu) = OT(mu, nu) - OT(mu, mu)/2 - OT(nu, nu)/2, regularized by epsilon times the standard deviation of the
    feature distances. They are computed from at most 2,000 distinct items of a label, and standard deviations from at
    most 1,000 of each side, drawn by content and the seed: the order of the items changes nothing.

    Raises:
        InputError: see `royalty.models.valuation.items`.
    """
    if torch.get_float32_matmul_precision() != "highest":
        raise InputError(
            "distances are computed in full float32, and torch is set to round products of matrices; call "
            'torch.set_float32_matmul_precision("highest"), or start without TORCH_ALLOW_TF32_CUBLAS_OVERRIDE'
        )
    features, labels = val
    if labels is not None:
        check_labels(labels, len(features), "validation")
    known = None if labels is None else np.unique(labels)
    check_fits(
        "distances of labels from validation items",
        1 if known is None else len(known),
        len(features),
        bytes_each=LABEL_BYTES,
        remedy="Give fewer labels, or none, which compares features alone",
    )
    seen = _Seen(seed)
    for batch in train:
        check_features(batch[0], features, first=seen.items)
        if (batch[1] is None) != (known is None):
            raise InputError("labels are compared if both sides have them; give both, or neither")
        if batch[1] is not None and known is not None:
            check_labels(batch[1], len(batch[0]), "training")
            check_unseen(batch[1], known)
        seen.add(*batch)
    if not seen.items:
        raise InputError("there are no training items to value")
    check_finite(features, "validation")
    centre = features.mean(axis=0, dtype=np.float64)
    sample = seen.sample()
    check_told_apart(sample.features, seen.items)
    keys = content_keys(features, seed=seed)
    val_sample = sampled(features, with_labels(keys, labels), SCALE_SAMPLE, labels=labels)
    first, second = (torch.from_numpy(side.features - centre).double() for side in (sample, val_sample))
    feature_distances: np.ndarray = torch.cdist(first, second).numpy()
    masses = sample.weights, val_sample.weights
    spread = deviation(feature_distances, *masses)
    distances = np.zeros((1, 1))
    if known is not None and options.label_weight > 0:
        members = [labels == label for label in known]
        val_samples = [sampled(features[rows], keys[rows], CLASS_SAMPLE) for rows in members]
        with one_thread():
            distances = label_distances(seen.samples(known), val_samples, spread, options, centre, device)
    elif known is not None:
        distances = np.zeros((len(known), len(known)))
    cost = options.feature_weight * feature_distances
    if known is not None and sample.labels is not None and val_sample.labels is not None:
        rows, columns = np.searchsorted(known, sample.labels), np.searchsorted(known, val_sample.labels)
        cost = cost + options.label_weight * distances[np.ix_(rows, columns)]
    scale = deviation(cost, *masses)
    return Ground(options, scale, options.epsilon * scale, centre, known, distances, seen.items)


def chunks(features: np.ndarray, labels: np.ndarray | None) -> Iterator[Batch]:
    """Read an array or memory map in chunks."""
    if labels is not None:
        check_labels(labels, len(features), "training")
    for start in range(0, max(len(features), 1), CHUNK):
        rows = slice(start, start + CHUNK)
        yield np.asarray(features[rows]), None if labels is None else labels[rows]


class _Seen:
    """Samples of a stream of training items, by content: one for each label, and one of all."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.items = 0
        self._kept: dict[int | None, Sample] = {}

    def add(self, features: np.ndarray, labels: np.ndarray | None) -> None:
        self.items += len(features)
        keys = content_keys(features, seed=self.seed)
        self._keep(None, sampled(features, with_labels(keys, labels), SCALE_SAMPLE, labels=labels), SCALE_SAMPLE)
        for label in [] if labels is None else np.unique(labels).tolist():
            rows = np.flatnonzero(labels == label)
            self._keep(label, sampled(features[rows], keys[rows], CLASS_SAMPLE), CLASS_SAMPLE)

    def sample(self) -> Sample:
        """The sample of all items, by features and label."""
        return self._kept[None]

    def samples(self, labels: np.ndarray) -> list[Sample | None]:
        """The sample of each label; None for a label without items."""
        return [self._kept.get(label) for label in labels.tolist()]

    def _keep(self, label: int | None, sample: Sample, most: int) -> None:
        before = self._kept.get(label)
        self._kept[label] = sample if before is None else before.merged(sample, most)


def label_distances(
    train: Sequence[Sample | None],
    val: Sequence[Sample],
    spread: float,
    options: Options,
    centre: np.ndarray,
    device: torch.device | None,
) -> np.ndarray:
    """Debiased distances of labels, `(training labels, validation labels)`, at least 0.

    Args:
        train, val: samples of the items of each label; of training, None for labels without items, whose row is zero.
        spread: standard deviation of the feature distances, which the entropy is a fraction of.
        centre: see `PointCost`.
    """

    def transport(first: Sample, second: Sample) -> float:
        return solve_transport(
            PointCost(first.features, second.features, centre=centre, scale=spread, device=device),
            first.weights,
            second.weights,
            epsilon=options.epsilon * spread,
            tolerance=options.tolerance,
            max_iterations=options.max_iterations,
        ).dual

    val_bias = [transport(points, points) for points in val]
    distances = np.zeros((len(train), len(val)))
    for row, points in enumerate(train):
        if points is not None:
            bias = transport(points, points)
            for column, val_points in enumerate(val):
                distances[row, column] = transport(points, val_points) - (bias + val_bias[column]) / 2
    return np.maximum(distances, 0.0)


def deviation(cost: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """Standard deviation; if it is rounding, the mean absolute value; if that is zero too, one.

    Args:
        rows, columns: weights, `(n,)` and `(m,)`, each summing to one.
    """
    spread = float(rows @ np.square(cost - rows @ cost @ columns) @ columns) ** 0.5
    size = float(rows @ np.abs(cost) @ columns)
    return (spread if spread > CONSTANT * size else size) or 1.0


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: for transports of a few hundred points, threads cost more than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

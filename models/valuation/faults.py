"""How clean items look, by kind of fault: their label, their features, and their features among those of their label.

Each score compares items with the clean items of a fit. Clean items that are not in the fit are scored in the place of
training items, in the same transports, so that a clean training item cannot be told from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from royalty.models.base.rows import Features, Rows, pieces
from royalty.models.encoders.head import LinearHead, fit_head
from royalty.models.valuation.costs import PointCost
from royalty.models.valuation.transport import solve_transport, source_potential

Fault = Literal["label", "features", "within_class"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

PENALTY = 1e-2
"""Penalty of the head; strong, because it has about as many weights for a label as there are clean items."""

EPSILON, TOLERANCE, MAX_ITERATIONS = 0.1, 1e-3, 1000
"""Settings of transport: the entropy as a fraction of the scale of the cost, the marginal error, and the passes."""

MOST_MOVED, MOST_REACHED = 20_000, 10_000
"""Items, and clean items, that a transport is solved with, at most; others are judged by its potential of the clean
items, in one pass."""

TRUSTED_STEPS = 40
"""Steps of a head that is fitted to trusted items; more change the scores little."""

MOST_TRUSTED = 20_000
"""Trusted items that a head is fitted to, at most."""

LOG_TEMPERATURES = (-3.0, 4.0)
"""Ends of the search for the logarithm of the temperature."""


@dataclass(frozen=True)
class Evidence:
    """Scores of items by kind of fault, `(items,)`, higher is cleaner, and the head's log-probabilities.

    Attributes:
        log_probabilities: `(items, labels)`, in the order of the sorted clean labels.
    """

    scores: Mapping[Fault, np.ndarray]
    log_probabilities: np.ndarray


def evidence(
    items: tuple[Features, np.ndarray],
    left_out: np.ndarray,
    clean: tuple[np.ndarray, np.ndarray],
    device: torch.device | None = None,
) -> Evidence:
    """Score items by a fit to clean items.

    - `label`: log-odds of the label by a linear head, whose temperature is fitted to the clean items left out. They
      rank items as the probability does; but the probability is near one for most items, and its logarithm then has
      ties and a tail far heavier than an exponential one.
    - `features`: minus the dual potential of the transport of all items to the clean ones, by features alone. Items of
      a label have together the mass of the clean items of the label, so that shares of labels are no evidence.
    - `within_class`: the same within each label, less the median of the clean items left out, so that labels whose
      items lie far apart are not worse than others.

    Args:
        items: features, `(items, dimensions)`, and labels, `(items,)`, of training items and of clean items left out.
        left_out: bool, `(items,)`; the clean items left out. Each label has one at least.
        clean: features and labels of the clean items in the fit; each label of the items has one at least.
    """
    (features, labels), (clean_features, clean_labels) = items, clean
    head = fit_head(clean_features, clean_labels, penalty=PENALTY)
    columns = np.searchsorted(head.classes, labels)
    cool = _log_probabilities(head, features, _temperature(head, features[left_out], labels[left_out]))
    within = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        of_label = clean_labels == label
        own = (Rows((features, rows)), labels[rows]), (clean_features[of_label], clean_labels[of_label])
        potential = _closeness(*own, device)
        within[rows] = potential - np.median(potential[left_out[rows]])
    return Evidence(
        {
            "label": _log_odds(cool, columns),
            "features": _closeness(items, clean, device),
            "within_class": within,
        },
        cool,
    )


def with_trusted(
    scored: Evidence,
    items: tuple[Features, np.ndarray],
    left_out: np.ndarray,
    clean: tuple[np.ndarray, np.ndarray],
    trusted: np.ndarray,
    part_of: np.ndarray,
) -> Evidence:
    """Score labels again, by heads that are fitted to trusted training items, too.

    No item is judged by a head that was fitted to its own part, and clean items left out are divided into the parts as
    training items are, so that a clean training item still cannot be told from them.

    Args:
        scored: the evidence of `evidence`, by the same items and clean items.
        trusted: bool, `(items,)`; training items that are probably not faulty, none of them left out.
        part_of: number of the part of each item, `(items,)`; copies share one.
    """
    features, labels = items
    log_probabilities = np.empty_like(scored.log_probabilities)
    for part in np.unique(part_of):
        judged = part_of == part
        others = np.flatnonzero(trusted & ~judged)
        others = others[:: 1 + len(others) // MOST_TRUSTED]
        fitted = np.concatenate([clean[0], features[others]]), np.concatenate([clean[1], labels[others]])
        head = fit_head(*fitted, penalty=PENALTY, steps=TRUSTED_STEPS)
        temperature = _temperature(head, features[left_out], labels[left_out])
        rows = Rows((features, np.flatnonzero(judged)))
        log_probabilities[judged] = _log_probabilities(head, rows, temperature)
    columns = np.searchsorted(np.unique(clean[1]), labels)
    scores = {**scored.scores, "label": _log_odds(log_probabilities, columns)}
    return Evidence(scores, log_probabilities)


def _log_odds(log_probabilities: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Logarithm of the probability of the label in `columns` over that of all other labels, `(items,)`."""
    if log_probabilities.shape[1] == 1:  # every label is the only one
        return np.zeros(len(columns))
    rows = np.arange(len(columns))
    others = log_probabilities.copy()
    others[rows, columns] = -np.inf
    odds: np.ndarray = log_probabilities[rows, columns] - logsumexp(others, axis=1)
    return odds


def _masses(labels: np.ndarray, clean_labels: np.ndarray) -> np.ndarray:
    """Masses of the items, `(items,)`, that sum to one and give each label the share that it has among clean items."""
    classes, places = np.unique(labels, return_inverse=True)
    shares = np.array([(clean_labels == label).mean() for label in classes])
    masses: np.ndarray = (shares / np.bincount(places) / shares.sum())[places]
    return masses


def _closeness(
    items: tuple[Features, np.ndarray], clean: tuple[np.ndarray, np.ndarray], device: torch.device | None
) -> np.ndarray:
    """Minus the dual potential of the items in the transport to clean items, `(items,)`.

    Of large sets it is solved with a sample. The potential of an item follows from that of the clean items, whether the
    item was moved or not, so that items of the sample and others, and clean items among both, are scored alike.
    """
    (features, labels), reached = items, _sample(clean[1], MOST_REACHED)
    clean_features, clean_labels, moved = clean[0][reached], clean[1][reached], _sample(labels, MOST_MOVED)
    centre, equal = clean_features.mean(axis=0, dtype=np.float64), np.full(len(reached), 1 / len(reached))
    cost = PointCost(Rows((features, moved)), clean_features, centre=centre, device=device)
    epsilon, masses = EPSILON * cost.scale, _masses(labels[moved], clean_labels)
    transport = solve_transport(
        cost, masses, equal, epsilon=epsilon, tolerance=TOLERANCE, max_iterations=MAX_ITERATIONS
    )
    if len(moved) == len(labels):
        return -transport.source
    whole = PointCost(features, clean_features, centre=centre, scale=cost.scale, device=device)
    potential, _ = source_potential(whole, _masses(labels, clean_labels), equal, transport.target, epsilon)
    return -potential


def _sample(labels: np.ndarray, most: int) -> np.ndarray:
    """Positions of all items, or of about `most`, as many of each label where it has them, evenly spaced."""
    if len(labels) <= most:
        return np.arange(len(labels))
    classes = np.unique(labels)
    each = max(1, most // len(classes))
    of_label = (np.flatnonzero(labels == label) for label in classes)
    return np.sort(np.concatenate([rows[:: -(-len(rows) // each)] for rows in of_label]))


def _log_probabilities(head: LinearHead, features: Features, temperature: float) -> np.ndarray:
    """Logarithms of the head's probabilities at a temperature, `(items, labels)`."""
    return np.concatenate([log_softmax(head.logits(piece) / temperature, axis=1) for piece in pieces(features)])


def _temperature(head: LinearHead, features: np.ndarray, labels: np.ndarray) -> float:
    """The divisor of the logits with the lowest cross entropy on items that the head was not fitted on."""
    logits, targets = head.logits(features), np.searchsorted(head.classes, labels)

    def loss(logarithm: float) -> float:
        given = log_softmax(logits / np.exp(logarithm), axis=1)[np.arange(len(targets)), targets]
        return -float(given.mean())

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x))

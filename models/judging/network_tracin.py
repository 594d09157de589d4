"""TracIn by checkpoints of a convolutional network that is trained on the items."""

from __future__ import annotations

import math

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.properties.classifier import Classifier
from royalty.models.valuation.item_baselines import alignment, check_positive
from royalty.models.valuation.items import ItemValues


def network_tracin_values(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    val_images: np.ndarray,
    val_labels: np.ndarray,
    *,
    seed: int,
    steps: int = 400,
    checkpoints: int = 5,
    device: str = "cpu",
    progress: Progress | None = None,
) -> ItemValues:
    """TracIn: sum over checkpoints of the learning rate times <gradient of the item, mean gradient of validation>.

    Pruthi et al. 2020, equation 3 (TracInCP), with gradients of the last layer alone. Each of the
    equal parts of the training has a checkpoint in its middle. Validation items with a label that no training item has
    are left out.

    Args:
        train_images, val_images: uint8, `(items, channels, height, width)`.
        train_labels, val_labels: integers, `(items,)`; training has two labels at least.
        seed: of the network and its training.
        steps: of training, at least as many as checkpoints.
        checkpoints: at least 1.
        device: where the network is trained.
        progress: called with 1 after each checkpoint.

    Returns:
        Values, in units of the first learning rate, higher is better; items with positive values lowered the validation
        loss. Diagnostics: `accuracy` of the trained network on validation.

    Raises:
        InputError: no checkpoints, fewer steps than checkpoints, a single training label, or no validation item with a
            training label.
    """
    check_positive("checkpoints", checkpoints)
    if steps < checkpoints:
        raise InputError(f"each checkpoint has a step of training, got {steps} steps for {checkpoints}; train longer")
    classes, targets = np.unique(train_labels, return_inverse=True)
    known = np.isin(val_labels, classes)
    if len(classes) < 2 or not known.any():
        raise InputError(
            f"a network is trained to tell two labels apart, and judged by validation items of these labels; got "
            f"{len(classes)} training labels and {known.sum()} such items. Add labelled items"
        )
    seen, val_targets = val_images[known], np.searchsorted(classes, val_labels[known])
    network = Classifier(train_images.shape[1], len(classes), seed=seed).to(device)
    values = np.zeros(len(targets))
    at = {math.ceil((part + 0.5) * steps / checkpoints) for part in range(checkpoints)}
    done = 0

    def look(_steps: int) -> None:
        nonlocal done
        done += 1
        if done not in at:
            return
        network.net.eval()  # which draws nothing, so that training goes on as if nobody had looked
        *_, weight, bias = network.net.parameters()  # of the last layer
        weights = np.vstack([part.detach().double().cpu().numpy().T for part in (weight, bias[:, None])])
        rows, val_rows = (_with_one(network.features(images)) for images in (train_images, seen))
        rate = 0.5 * (1 + math.cos(math.pi * (done - 1) / steps))  # of the step that was just taken
        values[:] += rate * alignment(rows, targets, val_rows, val_targets, weights)
        network.net.train()
        if progress is not None:
            progress(1)

    network.fit(train_images, targets, steps=steps, seed=seed, progress=look)
    return ItemValues(values, {"accuracy": network.accuracy(seen, val_targets)})


def _with_one(features: np.ndarray) -> np.ndarray:
    """Features and the constant that the bias multiplies, float64, `(items, features + 1)`."""
    return np.hstack([features.astype(np.float64), np.ones((len(features), 1))])

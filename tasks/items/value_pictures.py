"""Pictures for a valuation: the spread of values, and the best and worst images of each label."""

from __future__ import annotations

import numpy as np

from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.plots import label_distances, predicted_changes, spread_of_values
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.tasks.config.values import ValueConfig
from royalty.tasks.items.stages import Sides, Valued
from royalty.tasks.items.stored_items import load_items, load_values

IMAGES_SHOWN = 8
"""Number of best images, and of worst images, of each label."""

MOST_LABELS = 20
"""Largest number of labels in a picture."""


def pictures(artifacts: ArtifactStore, config: ValueConfig, sides: Sides, valued: Valued) -> dict[str, bytes]:
    """Draw the pictures of a valuation; PNG bytes by file name."""
    table = load_values(artifacts, valued.outputs.table)
    labels = table["label"].to_numpy() if "label" in table else np.zeros(len(table), dtype=int)
    values = table["value"].to_numpy()
    groups = {str(label): values[labels == label] for label in np.unique(labels)[:MOST_LABELS]}
    title = f"{config.name}: value by {config.method}"
    pngs = {"values.png": spread_of_values(title, groups if "label" in table else {"all items": values})}
    val_labels = load_items(artifacts, sides.val).labels
    distances = np.array(valued.outputs.diagnostics.get("label_distances", []))
    if val_labels is not None and len(distances) > 1:
        names = [str(label) for label in np.unique(val_labels)]
        pngs["label-distances.png"] = label_distances(f"{config.name}: distances of labels", names, distances)
    if valued.outputs.perturbed_table:
        changes = load_values(artifacts, valued.outputs.perturbed_table)
        count = len(changes) // changes["fraction"].nunique()  # of items
        pngs["perturbations.png"] = predicted_changes(
            f"{config.name}: change of the distance with the mass of an item",
            np.split(changes[["fraction", "predicted", "actual"]].to_numpy().T, count, axis=1),
        )
    items = load_items(artifacts, sides.train)
    if items.images is not None:
        rows = []
        for label in np.unique(labels)[:MOST_LABELS]:
            members = np.flatnonzero(labels == label)
            order = members[np.argsort(-values[members], kind="stable")]  # highest value first
            rows += [_padded(order[:IMAGES_SHOWN]), _padded(order[::-1][:IMAGES_SHOWN])]
        cells = np.concatenate(rows)
        images = np.where((cells >= 0)[:, None, None, None], items.images[cells], np.uint8(255))
        pngs["items.png"] = sheet(images, columns=2 * IMAGES_SHOWN)
    return pngs


def _padded(rows: np.ndarray) -> np.ndarray:
    """The rows, padded with -1 for blank cells to the number that is shown."""
    return np.concatenate([rows, np.full(IMAGES_SHOWN - len(rows), -1)])

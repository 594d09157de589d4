"""What people look at after a valuation: the spread of values, and the best and worst images of each label."""

from __future__ import annotations

import numpy as np

from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.plots import spread_of_values
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.tasks.config.values import ValueConfig
from royalty.tasks.items.stages import Sides, Valued
from royalty.tasks.items.stored_items import load_items, load_values

SHOWN = 8
"""Images of each end of each label."""

MOST_LABELS = 20


def pictures(artifacts: ArtifactStore, config: ValueConfig, sides: Sides, valued: Valued) -> dict[str, bytes]:
    """PNGs by file name."""
    table = load_values(artifacts, valued.outputs.table)
    labels = table["label"].to_numpy() if "label" in table else np.zeros(len(table), dtype=int)
    values = table["value"].to_numpy()
    groups = {str(label): values[labels == label] for label in np.unique(labels)[:MOST_LABELS]}
    title = f"{config.name}: value by {config.method}"
    made = {"values.png": spread_of_values(title, groups if "label" in table else {"all items": values})}
    items = load_items(artifacts, sides.train)
    if items.images is not None:
        rows = []
        for label in np.unique(labels)[:MOST_LABELS]:
            own = np.flatnonzero(labels == label)
            order = own[np.argsort(-values[own], kind="stable")]
            rows += [_padded(order[:SHOWN]), _padded(order[::-1][:SHOWN])]
        chosen = np.concatenate(rows)
        shown = np.where((chosen >= 0)[:, None, None, None], items.images[chosen], np.uint8(255))
        made["items.png"] = sheet(shown, columns=2 * SHOWN)
    return made


def _padded(rows: np.ndarray) -> np.ndarray:
    """The rows, with -1 where there are fewer than are shown."""
    return np.concatenate([rows, np.full(SHOWN - len(rows), -1)])

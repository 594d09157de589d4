"""Worker code: read scikit-learn's digits."""

from __future__ import annotations

import numpy as np

from royalty.models.data.items import item_id
from royalty.models.data.labelled import Items
from royalty.tasks.benchmarks.detection_stages import DigitsInputs, DigitsOutputs
from royalty.tasks.items.stored_items import keep_items
from royalty.tasks.stages.context import StageContext


def read_digits(inputs: DigitsInputs, context: StageContext) -> DigitsOutputs:
    """Store scikit-learn's digits as training and validation items, two to one."""
    from sklearn.datasets import load_digits  # takes seconds to import

    scans = load_digits()
    images = (scans.images * 15).astype(np.uint8)[:, None]  # (items, 1, 8, 8)
    labels = scans.target.astype(np.int64)
    ids = [item_id(image[0]) for image in images]
    for_val = np.arange(len(images)) % 3 == 2
    train, val = (
        keep_items(context.artifacts, Items(tuple(ids[row] for row in rows), images[rows], None, labels[rows], None))
        for rows in (np.flatnonzero(~for_val), np.flatnonzero(for_val))
    )
    context.advance(1)
    return DigitsOutputs(train, val)

"""What people look at after a match: generated images beside the training images that stand behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from infra.pictures import sheet
from infra.plots import spread_of_values
from infra.workspace import Workspace
from tasks.gmvaluator_worker import load_contributions
from tasks.valuing_worker import load_items, load_values

SHOWN, BEHIND = 12, 8
"""Generated images, and training images beside each."""


def pictures(space: Workspace, name: str, sides: Mapping[str, str], found: Mapping[str, Any]) -> dict[str, bytes]:
    """PNGs by file name."""
    values = load_values(space, found["table"])["value"].to_numpy()
    made = {"values.png": spread_of_values(f"{name}: value by GMValuator", {"all items": values})}
    items, generated = load_items(space, sides["train"]), load_items(space, sides["generated"])
    if items.images is not None and generated.images is not None:
        rows = []
        for image, behind in nearest(load_contributions(space, found["contributions"])):
            own = items.images[behind]
            blank = np.full_like(own[:1], 255)
            padding = np.repeat(blank, BEHIND - len(own), axis=0)
            rows += [alike(generated.images[[image]], own), blank, own, padding]
        made["behind.png"] = sheet(np.concatenate(rows), columns=BEHIND + 2)
    return made


def nearest(contributions: pd.DataFrame) -> list[tuple[int, np.ndarray]]:
    """Generated images, evenly over all of them, and the rows of the items of highest score behind each."""
    images = contributions["generated"].unique()
    chosen = images[np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)]
    return [
        (int(image), contributions.loc[contributions["generated"] == image, "item"].to_numpy()[:BEHIND])
        for image in chosen
    ]


def alike(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Images with as many channels as the others have: greyscale is repeated."""
    return np.broadcast_to(images, (len(images), *others.shape[1:])) if images.shape != others.shape else images

"""Sheets of sampled images: the base model over its training, its pruned copy, and the models of both ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from royalty.infra.pages.pictures import sheet
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.tasks.report.stages import RunStages

IMAGES, COLUMNS = 16, 8
SIDE = 64
"""Pixels to which the sides of smaller images are repeated, so that the pages show more than a spot."""

BASE = "1 base model"
MEASURED = {"broken": "2 pruned model before recovery", "pruned": "3 pruned model after recovery"}
ENDS = {"nobody": "4 model of nobody", "everybody": "5 model of everybody"}
"""Titles of the series, in the order in which MLflow shows them, by name in the outputs of the stages."""


@dataclass(frozen=True)
class Sheet:
    """A PNG of a series, and the training step of its model."""

    series: str
    step: int
    png: bytes


def sample_sheets(artifacts: ArtifactStore, stages: RunStages) -> Iterator[Sheet]:
    """Sheets in the order of the run. All images of a run start from the same noise, so sheets can be compared."""
    for trained, digest in stages.train.outputs.samples.items():
        yield Sheet(BASE, int(trained), _png(np.load(BytesIO(artifacts.get(digest)), allow_pickle=False)))
    measure = stages.measure.outputs
    last = int(stages.train.inputs.training["steps"])
    for name, series, step in (("base", BASE, last), *((name, series, 0) for name, series in MEASURED.items())):
        yield Sheet(series, step, _png(_images(artifacts, measure.images[name], measure.shape)))
    if stages.samples is not None:
        samples = stages.samples.outputs
        for name, series in ENDS.items():
            yield Sheet(series, 0, _png(_images(artifacts, samples.images[name], samples.shape)))


def _images(artifacts: ArtifactStore, digest: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(artifacts.get(digest), np.uint8).reshape(shape)


def _png(images: np.ndarray) -> bytes:
    factor = max(1, SIDE // images.shape[-1])
    return sheet(images[:IMAGES].repeat(factor, axis=2).repeat(factor, axis=3), COLUMNS)

"""Images made while a generator is trained: they change nothing, and survive an interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from royalty.models.data.items import ImageSet, item_id
from royalty.models.generators.generator import NOTHING_ELSE, Generator
from royalty.models.generators.registry import build_generator
from royalty.tasks.config.generators import DDPMConfig
from royalty.tasks.credit.snapshots import Snapshots

ARCHITECTURE = DDPMConfig(block_channels=[8, 16]).architecture()
TRAINING = {"batch_size": 4, "learning_rate": 1e-3, "ema_decay": 0.9, "seed": 0}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    return ImageSet.merge(pixels, [item_id(image) for image in pixels], np.zeros(6, int), ["any"], [("ann",)] * 6)


def untrained(images: ImageSet) -> Generator:
    return build_generator("ddpm", images.shown(), ARCHITECTURE, seed=0, resources=NOTHING_ELSE)


@pytest.mark.usefixtures("one_thread")
def test_a_watched_training_ends_with_the_same_weights(images: ImageSet, tmp_path: Path) -> None:
    plain, watched = untrained(images), untrained(images)
    snapshots = Snapshots(watched, tmp_path, 8, seed=0)
    assert plain.fit(images.images, steps=8, **TRAINING) == watched.fit(
        images.images, steps=8, **TRAINING, progress=snapshots
    )
    assert plain.to_bytes() == watched.to_bytes()
    assert list(snapshots.images) == [2, 4, 6]
    assert not np.array_equal(snapshots.images[2], snapshots.images[6])


def test_steps_that_a_resumed_training_reports_again_keep_their_images(images: ImageSet, tmp_path: Path) -> None:
    before = Snapshots(untrained(images), tmp_path, 8, seed=0)
    before(4)
    other = untrained(images)
    other.fit(images.images, steps=4, **TRAINING)
    after = Snapshots(other, tmp_path, 8, seed=0)
    after(6)
    assert np.array_equal(after.images[2], before.images[2])
    assert not np.array_equal(after.images[6], before.images[4])


def test_a_short_training_has_few_snapshots(images: ImageSet, tmp_path: Path) -> None:
    assert Snapshots(untrained(images), tmp_path, 1, seed=0).due == []
    assert Snapshots(untrained(images), tmp_path, 3, seed=0).due == [1, 2]

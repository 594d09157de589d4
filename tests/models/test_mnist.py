"""The embedded MNIST digits are the real ones, and in the form that generators take."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from royalty.models.data.mnist import credited_digits, framed_digits, mnist_digits


def test_digits_are_balanced_centred_and_told_apart_by_their_means() -> None:
    images, labels = mnist_digits()
    assert images.shape == (5000, 1, 28, 28)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 500))
    assert images.max() == 255
    assert not images[:, :, 0].any()  # white on black, with a margin
    # MNIST is centred by the mass of its pixels: rows and columns in the wrong order would still be, labels not.
    pixels, labels = images[::5, 0] / 255.0, labels[::5]
    mass = pixels.sum(axis=(1, 2))
    rows = (pixels.sum(axis=2) @ np.arange(28)) / mass
    assert abs(np.median(rows) - 13.5) < 1
    flat = pixels.reshape(1000, -1)
    means = np.stack([flat[labels == digit].mean(axis=0) for digit in range(10)])
    nearest = (np.square(means).sum(axis=1) - 2 * flat @ means.T).argmin(axis=1)
    assert (nearest == labels).mean() > 0.75
    # A one is upright: taller than wide.
    ones = pixels[labels == 1] > 0.5
    assert (ones.any(axis=2).sum(axis=1) > ones.any(axis=1).sum(axis=1)).mean() > 0.9


def test_digits_are_shared_among_who_each_bring_one_of_them() -> None:
    splits = credited_digits(chosen=[7, 5], contributors_a_digit=2, validation=0.2, classifier=0.2, seed=0)
    data = splits.train
    assert list(data.contributors) == ["five-1", "five-2", "seven-1", "seven-2"]
    assert data.label_names == ("five", "seven")
    names, brings = np.array(data.label_names)[data.labels], np.array(data.contributors)[data.membership.argmax(axis=1)]
    assert list(data.shown().texts or ()) == [f"a {name}" for name in names]
    assert all(owner.rpartition("-")[0] == name for owner, name in zip(brings, names, strict=True))
    framed = {image.tobytes() for image in framed_digits([5, 7])[0]}
    assert {image.tobytes() for part in vars(splits).values() for image in part.images} <= framed
    assert len(splits.train.images) > 500


def test_the_package_is_imported_only_when_asked_for() -> None:
    code = "import sys, royalty.models.data.mnist; sys.exit('mlxtend' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

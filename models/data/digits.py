"""The embedded data set: scanned digits of scikit-learn, divided among invented contributors."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from royalty.models.data.items import ImageSet, Splits, item_id, split_items

Shares = Literal["dirichlet", "by-class"]

BLURRED = "blurred-scanner"
MISLABELLED = "mislabelled-scanner"
NOISE = "planted-noise"
COPIER = "planted-copier"


def digits(
    *,
    contributors: int,
    shares: Shares,
    concentration: float,
    blurred_sigma: float,
    mislabelled: bool,
    planted: bool,
    validation: float,
    classifier: float,
    seed: int,
) -> Splits:
    """Divide 1,797 real 8x8 scans of handwritten digits among contributors.

    Args:
        contributors: number of contributors to the training images; with `by-class` there are ten, one for each digit.
        shares: `dirichlet` draws how the images of each digit are divided; `by-class` gives each digit to one
            contributor.
        concentration: of the symmetric Dirichlet distribution; smaller values make shares more unequal.
        blurred_sigma: Gaussian blur, in pixels, of the scans of the largest contributor; 0 leaves them sharp. Applies
            to `dirichlet` only.
        mislabelled: give random labels to the images of the largest contributor who is not blurred. A generator that is
            not conditional on labels does not see them.
        planted: add a contributor of uniform noise, and one who copies the images of another contributor.
        validation: fraction of the images held out for validation.
        classifier: fraction of the images held out for the classifier.
        seed: of all random draws.
    """
    scans = load_digits()
    images = np.round(scans.images * (255 / 16)).astype(np.uint8)  # (items, 8, 8)
    label_names = [str(name) for name in scans.target_names]
    whole = _image_set(images, scans.target, label_names, ["archive"] * len(images))
    splits = split_items(whole, validation=validation, classifier=classifier, seed=seed)
    generator = np.random.default_rng([seed, 2])
    train, labels = splits.train.images[:, 0], splits.train.labels
    owners = _share_out(labels, contributors, shares, concentration, generator)
    if blurred_sigma > 0 and shares == "dirichlet":
        # The largest share is blurred, so that there are enough images to measure the effect.
        names, counts = np.unique(owners, return_counts=True)
        blurred = owners == names[counts.argmax()]
        train = train.copy()
        train[blurred] = gaussian_filter(train[blurred].astype(float), (0, blurred_sigma, blurred_sigma)).round()
        owners[blurred] = BLURRED
    if mislabelled:
        names, counts = np.unique(owners[owners != BLURRED], return_counts=True)
        relabelled = owners == names[counts.argmax()]
        labels = labels.copy()
        labels[relabelled] = generator.integers(len(label_names), size=int(relabelled.sum()))
        owners[relabelled] = MISLABELLED
    if planted:
        train, labels, owners = _plant(train, labels, owners, generator)
    return Splits(
        train=_image_set(train, labels, label_names, list(owners)),
        validation=splits.validation,
        classifier=splits.classifier,
    )


def _share_out(
    labels: np.ndarray, contributors: int, shares: Shares, concentration: float, generator: np.random.Generator
) -> np.ndarray:
    """The name of the contributor of each image, `(items,)`."""
    if shares == "by-class":
        return np.array([f"digit-{label}" for label in labels], dtype=object)
    owner = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        items = generator.permutation(np.flatnonzero(labels == label))
        portions = generator.dirichlet(np.full(contributors, concentration))
        owner[items] = generator.choice(contributors, size=len(items), p=portions)
    for without_images in np.setdiff1d(np.arange(contributors), owner):
        # A Dirichlet draw may leave a contributor without images, who then gets one from the largest share.
        largest = np.bincount(owner, minlength=contributors).argmax()
        owner[np.flatnonzero(owner == largest)[0]] = without_images
    return np.array([f"scanner-{index + 1:02d}" for index in owner], dtype=object)


def _plant(
    images: np.ndarray, labels: np.ndarray, owners: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add a contributor with an average number of noise images, and one with copies of the largest share."""
    names, counts = np.unique(owners[owners != BLURRED], return_counts=True)
    noise_count = round(counts.mean())
    noise = generator.integers(0, 256, size=(noise_count, *images.shape[1:]), dtype=np.uint8)
    copied = owners == names[counts.argmax()]
    return (
        np.concatenate([images, noise, images[copied]]),
        np.concatenate([labels, generator.choice(labels, noise_count), labels[copied]]),
        np.concatenate([owners, [NOISE] * noise_count, [COPIER] * int(copied.sum())]),
    )


def _image_set(images: np.ndarray, labels: np.ndarray, label_names: list[str], owners: list[str]) -> ImageSet:
    ids = [item_id(image) for image in images]
    return ImageSet.merge(images[:, None], ids, labels, label_names, [[owner] for owner in owners])

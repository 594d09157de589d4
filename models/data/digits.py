"""The embedded set: scikit-learn's scanned digits, shared among contributors by a stated protocol."""

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
    """1,797 real 8x8 scans of handwritten digits with contributors.

    Args:
        contributors: how many share the training images; with `by-class` there are ten, one a digit.
        shares: `dirichlet` draws for each digit how it is shared out; `by-class` gives a digit to one.
        concentration: of the symmetric Dirichlet distribution; smaller is more unequal.
        blurred_sigma: Gaussian blur, in pixels, of one contributor's scans; 0 leaves them sharp.
        mislabelled: the labels of the second largest share are drawn anew; without conditioning on labels a
            generator does not see them.
        planted: adds a contributor of uniform noise and one who copies another's images.
        validation: share of the images held out for validation.
        classifier: share of the images held out for the classifier.
        seed: of every draw here.
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
        # The largest share is blurred: enough images for the harm to be measured.
        names, counts = np.unique(owners, return_counts=True)
        victim = names[counts.argmax()]
        scanned = owners == victim
        train = train.copy()
        train[scanned] = gaussian_filter(train[scanned].astype(float), (0, blurred_sigma, blurred_sigma)).round()
        owners[scanned] = BLURRED
    if mislabelled:
        names, counts = np.unique(owners[owners != BLURRED], return_counts=True)
        wrong = owners == names[counts.argmax()]
        labels = labels.copy()
        labels[wrong] = generator.integers(len(label_names), size=int(wrong.sum()))
        owners[wrong] = MISLABELLED
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
    for name in np.setdiff1d(np.arange(contributors), owner):
        # A Dirichlet draw may leave somebody empty-handed; the largest share gives one image away.
        richest = np.bincount(owner, minlength=contributors).argmax()
        owner[np.flatnonzero(owner == richest)[0]] = name
    return np.array([f"scanner-{index + 1:02d}" for index in owner], dtype=object)


def _plant(
    images: np.ndarray, labels: np.ndarray, owners: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add a contributor of uniform noise, of average size, and one with copies of the largest share."""
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

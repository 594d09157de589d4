"""Items, contributors and the splits of an image set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.base.serialization import pack, unpack


def item_id(pixels: np.ndarray) -> str:
    """SHA-256 of decoded pixels and their shape: equal for copies in any file format."""
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Shown:
    """The training data of a generator; each kind uses the parts that it learns from.

    Attributes:
        images: uint8, `(items, channels, height, width)`.
        labels: int64, `(items,)`.
        texts: one caption for each image.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    texts: Sequence[str] | None = None


@dataclass(frozen=True)
class ImageSet:
    """Distinct images with their contributors, labels and captions.

    Attributes:
        images: uint8, `(items, channels, height, width)`.
        ids: the `item_id` of each item, of the image as it was provided (before any resizing).
        labels: int64, `(items,)`, an index into `label_names`.
        membership: bool, `(items, contributors)`; an item may have several contributors.
        contributors: sorted names, the players; bit i of a coalition is `contributors[i]`.
        texts: one caption for each item, or None.
    """

    images: np.ndarray
    ids: tuple[str, ...]
    labels: np.ndarray
    label_names: tuple[str, ...]
    membership: np.ndarray
    contributors: tuple[str, ...]
    texts: tuple[str, ...] | None = None

    @classmethod
    def merge(
        cls,
        images: np.ndarray,
        ids: Sequence[str],
        labels: np.ndarray,
        label_names: Sequence[str],
        owners: Sequence[Sequence[str]],
        texts: Sequence[str] | None = None,
    ) -> ImageSet:
        """Build a set from provided images; copies become one item with all their contributors and the first text.

        Items are ordered by id, so that the order of a coalition's images does not depend on other contributors.
        """
        contributors = tuple(sorted({name for names in owners for name in names}))
        column = {name: index for index, name in enumerate(contributors)}
        unique, first, position = np.unique(np.array(ids), return_index=True, return_inverse=True)
        membership = np.zeros((len(unique), len(contributors)), dtype=bool)
        for item, names in zip(position, owners, strict=True):
            membership[item, [column[name] for name in names]] = True
        return cls(
            images=images[first],
            ids=tuple(unique.tolist()),
            labels=labels[first].astype(np.int64),
            label_names=tuple(label_names),
            membership=membership,
            contributors=contributors,
            texts=None if texts is None else tuple(texts[index] for index in first),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, items: np.ndarray) -> ImageSet:
        """The items at these positions, with all contributors kept as players."""
        return replace(
            self,
            images=self.images[items],
            ids=tuple(self.ids[i] for i in items),
            labels=self.labels[items],
            membership=self.membership[items],
            texts=None if self.texts is None else tuple(self.texts[i] for i in items),
        )

    def shown(self) -> Shown:
        return Shown(self.images, self.labels, self.texts)

    def of_coalition(self, mask: np.ndarray) -> np.ndarray:
        """Positions of the items that at least one member of the coalition provided.

        Args:
            mask: bool, `(contributors,)`.
        """
        return np.flatnonzero(self.membership[:, mask].any(axis=1))

    def digest_of(self, contributor: int) -> str:
        """SHA-256 over the items of one contributor, with their labels and texts, and nothing else."""
        items = np.flatnonzero(self.membership[:, contributor])
        rows = [[self.ids[i], self.label_names[self.labels[i]], self.texts[i] if self.texts else ""] for i in items]
        return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()

    def arrays(self) -> dict[str, np.ndarray]:
        return {"images": self.images, "labels": self.labels, "membership": self.membership}

    def names(self) -> dict[str, Any]:
        """All fields that are not arrays, as JSON values."""
        return {
            "ids": self.ids,
            "label_names": self.label_names,
            "contributors": self.contributors,
            "texts": self.texts,
        }

    @classmethod
    def of_parts(cls, arrays: Mapping[str, np.ndarray], names: Mapping[str, Any]) -> ImageSet:
        listed: dict[str, Any] = {name: None if values is None else tuple(values) for name, values in names.items()}
        return cls(images=arrays["images"], labels=arrays["labels"], membership=arrays["membership"], **listed)

    def to_bytes(self) -> bytes:
        return pack(self.arrays(), self.names())

    @classmethod
    def from_bytes(cls, payload: bytes) -> ImageSet:
        return cls.of_parts(*unpack(payload))


@dataclass(frozen=True)
class Splits:
    """Disjoint parts of one image set: no item, and so no copy, is in two of them.

    Attributes:
        train: the training set of the generator; every contributor has at least one item in it.
        validation: never trained on; the reference for the global property of real images.
        classifier: the training set of the classifier that the global property uses.
    """

    train: ImageSet
    validation: ImageSet
    classifier: ImageSet


def split_items(items: ImageSet, *, validation: float, classifier: float, seed: int) -> Splits:
    """Hold out items by a hash of their id, so that a contributor's changes do not move other contributors' items.

    An item's place in [0, 1) is a hash of its id and the seed; the lowest places are held out. If that leaves a part
    without a label, or a contributor without a training item, the item with the nearest place is moved.

    Args:
        validation: fraction of items for validation, in (0, 1).
        classifier: fraction of items for the classifier, in (0, 1).

    Raises:
        InputError: a label has too few items to be in every part.
    """
    place = np.array([_place(identity, seed) for identity in items.ids])  # (items,) in [0, 1)
    part = np.where(place < validation, _VALIDATION, np.where(place < validation + classifier, _CLASSIFIER, _TRAIN))
    for member in range(len(items.contributors)):
        rows = np.flatnonzero(items.membership[:, member])
        if not (part[rows] == _TRAIN).any():
            # A contributor without training images would have no credit.
            part[rows[place[rows].argmax()]] = _TRAIN
    for label, name in enumerate(items.label_names):
        candidates = np.flatnonzero(items.labels == label)
        if not len(candidates):
            continue  # a label of which the source has no image yet
        if not (part[candidates] == _TRAIN).any():
            part[candidates[place[candidates].argmax()]] = _TRAIN
        for wanted, other in ((_VALIDATION, _CLASSIFIER), (_CLASSIFIER, _VALIDATION)):
            if not (part[candidates] == wanted).any():
                trained = candidates[part[candidates] == _TRAIN]
                spare = [item for item in trained if len(trained) > 1 and _can_spare(items, part, int(item))]
                held = candidates[part[candidates] == other]
                spare = spare or (held.tolist() if len(held) > 1 else [])
                if spare:
                    part[min(spare, key=lambda item: place[item])] = wanted
        missing = {_VALIDATION, _CLASSIFIER, _TRAIN} - set(part[candidates].tolist())
        if missing:
            raise InputError(
                "each label needs images for training, validation and the classifier, and each contributor keeps one "
                f"image for training; label {name!r} has too few for that: "
                f"{len(candidates)}, counting copies once. Add images of it, or merge the label with another."
            )
    return Splits(
        train=items.take(np.flatnonzero(part == _TRAIN)),
        validation=items.take(np.flatnonzero(part == _VALIDATION)),
        classifier=items.take(np.flatnonzero(part == _CLASSIFIER)),
    )


_TRAIN, _VALIDATION, _CLASSIFIER = 0, 1, 2


def _place(identity: str, seed: int) -> float:
    return int(hashlib.sha256(f"{seed}:{identity}".encode()).hexdigest()[:13], 16) / 16**13


def _can_spare(items: ImageSet, part: np.ndarray, item: int) -> bool:
    """Whether every contributor of an item has another training item."""
    owners = items.membership[item]
    return bool((items.membership[part == _TRAIN][:, owners].sum(axis=0) > 1).all())

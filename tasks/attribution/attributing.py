"""Attribute generated images by the indexes that are served."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from royalty.infra.attribution.api import AttributionAnswer, AttributionRequest, ItemShare, Refused
from royalty.infra.attribution.shards import MANIFEST, Manifest, OpenShard, ShardStore
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.weights import WeightsStore
from royalty.models.base.errors import InputError
from royalty.models.data.teams import credited
from royalty.models.retrieval.earlier import copies_among, thumbnails
from royalty.models.retrieval.search import Vectors
from royalty.models.valuation.attribution import (
    COMPARED,
    attribution,
    closeness,
    contributor_shares,
    far_distance,
    memorization_p_value,
)
from royalty.tasks.attribution.copies import Members, Rows
from royalty.tasks.attribution.description import Description, code_of, stated_of
from royalty.tasks.attribution.index import opened

if TYPE_CHECKING:
    from royalty.models.encoders.encoder import Encoder

SHOWN = 0.001
"""Smallest share of a training image that is listed."""

RELEASED = 20
"""Queries after which the system may take back the memory of vectors that were read."""


@dataclass
class ServedIndex:
    """An index of one manifest, mapped.

    Attributes:
        vectors: of the items that have a place of their own: of near copies, the earliest.
        every: of all items.
        originals: number of the earliest near copy of each item; None if they are not grouped.
        members: the groups of near copies; None if they are not grouped.
        name: of the index in answers.
        far: distance beyond which an image is not attributed.
    """

    store: ShardStore
    manifest: Manifest
    about: Description
    parts: Sequence[OpenShard]
    vectors: Vectors
    every: Vectors
    originals: np.ndarray | None
    members: Members | None
    far: float
    name: str
    queries: int = 0

    @classmethod
    def open(cls, folder: Path) -> ServedIndex:
        """Open an index.

        Raises:
            StoreError: there is no index, it is damaged, or other code built it.
        """
        store = ShardStore(folder)
        manifest = store.manifest()
        about = Description.of(manifest)
        check_code(about, folder)
        parts = store.open(manifest)
        originals = store.earliest(manifest)
        every = opened(store, manifest, parts, copies=True)
        vectors = every if originals is None else opened(store, manifest, parts)
        members = None if originals is None else Members(originals)
        far = far_distance(np.array(about.nearest), about.far_rate) if about.nearest else np.inf
        name = f"{about.model} {about.version}, change {manifest.generation}"
        return cls(store, manifest, about, parts, vectors, every, originals, members, far, name)

    def rows(self, numbers: np.ndarray) -> pa.Table:
        """Metadata of items, in the order of their numbers."""
        tables, order, first = [], [], 0
        for part in self.parts:
            places = np.flatnonzero((numbers >= first) & (numbers < first + len(part.vectors)))
            if len(places):
                tables.append(part.items.take(pa.array(numbers[places] - first)))
                order.append(places)
            first += len(part.vectors)
        return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(order))))

    def nearest(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances and numbers of the nearest items: those that share an image, and those that closeness needs."""
        return self._found(self.vectors, features)

    def earliest(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers of the earliest near copies of items."""
        return numbers if self.originals is None else self.originals[numbers]

    def nearest_of_all(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same with near copies."""
        return self._found(self.every, features)

    def copied(self, pixels: np.ndarray, candidates: np.ndarray) -> list[tuple[int, float]]:
        """Which of some items an image is a near copy of, most similar first, with their similarity; none without
        thumbnails."""
        if self.about.alike is None:
            return []
        found = copies_among(thumbnails(pixels[None])[0], candidates, Rows.of(self.parts), self.about.alike)
        return list(zip(*(array.tolist() for array in found), strict=True))

    def sharing(self, numbers: np.ndarray, shares: np.ndarray) -> list[SharingItem]:
        """The items that have the shares of places: the earliest of near copies, or all of them alike."""
        sharing = []
        for place, (number, share) in enumerate(zip(numbers.tolist(), shares.tolist(), strict=True)):
            group = np.array([number]) if self.members is None else self.members.of(number)
            owners = [number] if self.about.division == "earliest" else group.tolist()
            sharing += [SharingItem(owner, place, share / len(owners), len(group) - 1) for owner in owners]
        return sharing

    def _found(self, vectors: Vectors, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = vectors.nearest(features, max(self.about.k, COMPARED + 1))
        self.queries += 1
        if self.queries % RELEASED == 0:
            for part in self.parts:
                part.release()
        return found


class SharingItem(NamedTuple):
    """An item with a share: its number, its place among the nearest, and the number of its near copies."""

    number: int
    place: int
    share: float
    copies: int


def check_code(about: Description, folder: Path) -> None:
    """Check that vectors of this code are comparable with those of an index.

    Raises:
        StoreError: the encoder or the search has changed since the index was built.
    """
    if about.code != code_of(about.encoder):
        raise StoreError(
            f"an index is searched by the code that built it, and {folder} was built by other code ({about.code[:12]}, "
            f"this is {code_of(about.encoder)[:12]}): the encoder, the search or a library has changed. Build it again "
            "with `royalty index build`"
        )


@dataclass
class Attributor:
    """The indexes of several models, by model and version.

    An index that changes is opened anew before the next attribution. One that then cannot be opened stays as it was.

    Attributes:
        folders: by model and version.
        weights: of encoders that need them.
    """

    folders: Mapping[tuple[str, str], Path]
    weights: WeightsStore
    device: str = "cpu"
    _opened: dict[tuple[str, str], tuple[int, ServedIndex]] = field(default_factory=dict)
    _encoders: dict[str, Encoder] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def index(self, model: str, version: str) -> ServedIndex:
        """The index of a model, as it is now.

        Raises:
            Refused: it is not served.
            StoreError: it cannot be opened.
        """
        folder = self.folders.get((model, version))
        if folder is None:
            known = ", ".join(f"{name} {number}" for name, number in self.folders) or "none"
            raise Refused(404, f"no index of the model {model!r}, version {version!r}, is served; there are: {known}")
        with self._lock:
            try:
                changed = (folder / MANIFEST).stat().st_mtime_ns
            except OSError:
                changed = -1
            before, known_index = self._opened.get((model, version), (-2, None))
            if changed != before or known_index is None:
                known_index = ServedIndex.open(folder)
                self._opened[model, version] = changed, known_index
            return known_index

    def open_all(self) -> None:
        """Open all indexes, and load their encoders."""
        for model, version in self.folders:
            index = self.index(model, version)
            if index.about.encoder:
                self._encoder(index)

    def sizes(self) -> dict[tuple[str, str], int]:
        """Items of the opened indexes, by model and version."""
        return {name: index.every.count for name, (_, index) in self._opened.items()}

    def __call__(self, request: AttributionRequest) -> AttributionAnswer:
        """Attribute a generated image.

        Raises:
            Refused: the model is not served; the image cannot be read; the embedding is of another encoder or size.
            StoreError: the index cannot be opened.
        """
        index = self.index(request.model, request.version)
        try:
            features = self._features(index, request)
            distances, numbers = index.nearest(features)
        except InputError as error:
            raise Refused(400, str(error)) from error
        return self._answer(index, request, distances, numbers)

    def _answer(
        self, index: ServedIndex, request: AttributionRequest, distances: np.ndarray, numbers: np.ndarray
    ) -> AttributionAnswer:
        about = index.about
        divided = attribution(distances[: about.k], temperature=about.shared_at, far=index.far)
        sharing = index.sharing(numbers[: about.k], divided.shares)
        rows = index.rows(np.array([owner.number for owner in sharing])).to_pylist()
        parts = np.array([owner.share for owner in sharing])
        shares = {} if divided.far else contributor_shares(parts, [row["contributor"] for row in rows])
        listed = [
            ItemShare(
                id=row["id"],
                share=owner.share,
                distance=float(distances[owner.place]),
                contributors=credited(row["contributor"]),
                license=row["license"],
                file_name=row["file_name"],
                date=row["date"],
                copies=owner.copies,
                **stated_of(row),
            )
            for row, owner in zip(rows, sharing, strict=True)
            if owner.share >= SHOWN and not divided.far
        ]
        return AttributionAnswer(
            attribution="",
            id=request.id,
            model=about.model,
            version=about.version,
            attributable=not divided.far,
            contributors=shares,
            items=listed,
            others=0.0 if divided.far else max(0.0, 1.0 - sum(item.share for item in listed)),
            effective_items=divided.effective,
            temperature=about.shared_at,
            nearest=float(distances[0]),
            memorization_p_value=memorization_p_value(closeness(distances), np.array(about.closeness)),
            index=index.name,
        )

    def _features(self, index: ServedIndex, request: AttributionRequest) -> np.ndarray:
        about = index.about
        if request.embedding is not None:
            if request.encoder != about.encoder_key:
                raise InputError(
                    f"embeddings are compared with those of one encoder: the index of {about.model} is by "
                    f"{about.encoder_key!r}, and this embedding is by {request.encoder!r}. Embed the image with it, or "
                    "send the image"
                )
            return np.array(request.embedding, dtype=np.float32)
        try:
            payload = base64.b64decode(request.image or "", validate=True)
        except (binascii.Error, ValueError):
            raise InputError("`image` is the base64 of an image file, and this is none; encode the file") from None
        return self.embedded(index, self.pixels(index, payload, "the image"))

    def pixels(self, index: ServedIndex, payload: bytes, where: str) -> np.ndarray:
        """Pixels of an image file, as those of an index: uint8, `(channels, size, size)`.

        Raises:
            InputError: it cannot be read as an image, or has too many pixels; or it has colour, and the index none; or
                the index is of features.
        """
        from royalty.models.data.decoding import MODES, decode  # only images need these libraries

        if not index.about.encoder:
            raise InputError(
                f"the index of {index.about.model} has features and no encoder, so that images cannot be embedded; "
                "send an embedding"
            )
        channels, size, _ = index.about.shape
        mode, _, square = decode(where, payload, size)
        pixels = square.reshape(size, size, MODES[mode]).transpose(2, 0, 1)
        if channels == 3:
            pixels = np.broadcast_to(pixels, (3, size, size))
        elif len(pixels) == 3:
            if (pixels != pixels[:1]).any():
                raise InputError(
                    f"{where} has colour, and all training images of {index.about.model} are greyscale; convert it"
                )
            pixels = pixels[:1]
        return np.array(pixels, order="C")

    def embedded(self, index: ServedIndex, pixels: np.ndarray) -> np.ndarray:
        """Features of an image, by the encoder of an index."""
        features: np.ndarray = self._encoder(index).features(pixels[None])[0]
        return features

    def _encoder(self, index: ServedIndex) -> Encoder:
        """The encoder of an index; raises `StoreError` if it has other weights than when the index was built."""
        about = index.about
        with self._lock:
            if about.encoder_key not in self._encoders:
                from royalty.models.encoders.registry import build_encoder
                from royalty.tasks.items.embeddings import embedding_key

                channels, height, width = about.shape
                encoder = build_encoder(
                    about.encoder,
                    shape=(channels, height, width),
                    device=self.device,
                    weights=self.weights.locate,
                    resolution=about.resolution,
                )
                key = embedding_key(encoder, np.empty((0, *about.shape), np.uint8))
                if key != about.encoder_key:
                    raise StoreError(
                        f"an index is searched by the encoder that built it, {about.encoder_key}, and the installed "
                        f"one is {key}: its weights or input size have changed. Build the index again with `royalty "
                        "index build`"
                    )
                self._encoders[about.encoder_key] = encoder
            return self._encoders[about.encoder_key]


def served_folders(root: Path, models: Collection[str] = ()) -> dict[tuple[str, str], Path]:
    """Folders of the indexes in a home, by model and version.

    Args:
        models: names of the models to serve; none: all.

    Raises:
        InputError: one of them has no index, or there is none.
    """
    found = {
        (file.parent.parent.name, file.parent.name): file.parent
        for file in sorted((root / "indexes").glob(f"*/*/{MANIFEST}"))
    }
    known = {model for model, _ in found}
    missing = sorted(set(models) - known)
    if missing or not found:
        wanted = f"{', '.join(missing)} has none" if missing else "there is none"
        raise InputError(
            f"images are attributed by the index of a model's training images, and {wanted}; indexes in {root}: "
            f"{', '.join(sorted(known)) or 'none'}. Build one: royalty index build --model NAME --train FOLDER"
        )
    return {name: folder for name, folder in found.items() if not models or name[0] in models}


def index_folder(root: Path, model: str, version: str) -> Path:
    """The folder of an index in a home."""
    return root / "indexes" / model / version

"""Index the training images of a model, and attribute generated images by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow

from royalty.flows.embedding import embed_items
from royalty.flows.mistakes import explained
from royalty.flows.runner import RUNNER
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.models.base.policy import Policy
from royalty.tasks.attribution.credentials import Signing
from royalty.tasks.attribution.indexing import add_items, build_items, described
from royalty.tasks.config.attribution import IndexConfig
from royalty.tasks.items.reading import common_side, read
from royalty.tasks.items.stages import ReadOutputs
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class IndexResult:
    """An index after it was built or changed.

    Attributes:
        items, removed: items that can be found, and items that were removed and whose files are still there.
        copies: items that are near copies of an earlier one, and share its place.
        contributors: their number.
        temperature: of the shares, in units of the distance.
        folder: of its files.
        bytes: size of its files.
        far: distance beyond which a generated image is not attributed.
        notes: sentences on what was read, such as images that were left out.
    """

    model: str
    version: str
    items: int
    removed: int
    copies: int
    contributors: int
    encoder: str
    temperature: float
    folder: str
    bytes: int
    far: float | None
    notes: list[str] = field(default_factory=list)


@flow(name="index", flow_run_name="index {config.model}", task_runner=RUNNER)
@explained
def build_index(config: IndexConfig) -> IndexResult:
    """Read and embed the training images of a model, and build their index, in place of an earlier one.

    Raises:
        InputError: images that cannot be read, or without a contributor.
        StoreError: another process changes the index, or the disk is full; an earlier index stays.
    """
    check_home(settings())
    check_weights(config.entries)
    size = config.size or common_side(config.train)
    items, encoder = _embedded(config.train, size, config.encoder, config.policy, config.seen_at(size))
    return IndexResult(**build_items(config, items, encoder))


@flow(name="index-add", flow_run_name="index {model}", task_runner=RUNNER)
@explained
def add_to_index(model: str, version: str, train: Path) -> IndexResult:
    """Add training images to an index; those that it has stay as they are.

    Raises:
        InputError: as for `build_index`; or the images have another encoder than those of the index.
        StoreError: as for `build_index`.
    """
    check_home(settings())
    about = described(model, version)
    if about.encoder:
        check_weights(IndexConfig(model=model, train=train, encoder=about.encoder).entries)
    size = about.shape[1] if about.shape else common_side(train)
    items, encoder = _embedded(train, size, about.encoder, about.policy, about.resolution)
    if encoder != about.encoder_key:
        raise InputError(
            f"the images of an index are embedded alike: those of {model} by {about.encoder_key!r}, and these by "
            f"{encoder!r}. Images have as many channels as those of the index; features are added to features"
        )
    return IndexResult(**add_items(model, version, items, encoder))


def _embedded(source: Path, size: int, encoder: str, policy: Policy, resolution: int | None) -> tuple[ReadOutputs, str]:
    """Items, and the key of their embeddings; for features, that of given features."""
    items = read(source, size, policy=policy).outputs
    if items.shape is None:
        return items, "features"
    return items, embed_items(items, encoder, "", resolution).outputs.encoder


def attribute(
    images: Sequence[Path],
    model: str | None,
    version: str | None,
    picture: Path | None = None,
    signing: Signing | None = None,
) -> list[dict[str, Any]]:
    """Attribute image files as the service does, without its log; starts no server.

    Args:
        model, version: of the index; None if there is only one.
        picture: also draw each image beside the training images behind it, as a PNG file.
        signing: also write copies of the images with a C2PA manifest that has the attribution as an assertion.

    Returns:
        For each image its file, and the fields of the service's answer; with `signing`, also the file that is `signed`.

    Raises:
        InputError: no such index, or several and none is named; an image that cannot be read or signed.
        StoreError: other code or weights built the index.
    """
    from royalty.tasks.attribution.from_files import attribute_files

    return attribute_files(images, model, version, picture, signing)


def credentials(images: Sequence[Path], anchors: Path | None = None) -> list[dict[str, Any]]:
    """Read the Content Credentials of images, offline.

    Args:
        anchors: file with certificates (PEM) of authorities whose signatures are trusted; None: nobody's.

    Returns:
        For each image its file and `state`: `none`, `valid`, `trusted` or `tampered`; and unless it is `none`, the
        other fields of `royalty.models.data.credentials.Credentials`.

    Raises:
        InputError: a file cannot be read; or one has a manifest, and c2pa-python is not installed.
    """
    from royalty.tasks.attribution.credentials import read_credentials

    return read_credentials(images, anchors)


def find(images: Sequence[Path], model: str | None, version: str | None) -> list[dict[str, Any]]:
    """Find out whether works are among the training images, and which outputs they stand behind; starts no server.

    Args:
        model, version: of the index; None if there is only one.

    Returns:
        For each image its file; whether it is `contained`, with the same features; the training images that it is a
        near `copy_of`, with their `similarity`; the `p_value` of an image that was not trained on and is as close; the
        `nearest` training images, each with the `earliest` of its near copies; and logged `outputs` that these stand
        behind.

    Raises:
        InputError, StoreError: as for `attribute`.
    """
    from royalty.tasks.attribution.from_files import find_works

    return find_works(images, model, version)

"""Read the items of a source, and train an encoder on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred, module_of
from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.base.policy import NO_POLICY, Policy
from royalty.models.base.resolution import MOST
from royalty.models.data.attributes import table_of
from royalty.models.data.folder import list_images
from royalty.models.data.labelled import count_items, typical_side
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.items.stages import (
    COLOUR,
    READ_ITEMS,
    TRAIN_ENCODER,
    Coloured,
    ColourInputs,
    EncoderInputs,
    EncoderTrained,
    ItemsOutputs,
    ItemsRead,
    LocatedSource,
    ReadInputs,
    ReadOutputs,
)
from royalty.tasks.stages.running import call_in_worker, run_in_worker, run_stage
from royalty.tasks.stages.task import task
from royalty.tasks.stages.withdrawals import withdrawals

LEAST_SIDE = 8
"""Side in pixels of the smallest images that are read."""

if TYPE_CHECKING:
    from royalty.tasks.items import encoder_worker, reading_worker
else:
    encoder_worker = Deferred("royalty.tasks.items.encoder_worker")
    reading_worker = Deferred("royalty.tasks.items.reading_worker")


@task(name="read items", cache_policy=NO_CACHE)
def read(
    path: Path, size: int, attributes: Sequence[str] = (), needed: bool = True, policy: Policy | None = None
) -> ItemsRead:
    """Read the items of a source.

    Args:
        size: side of the squares that images are resized to, in pixels.
        attributes: columns to read as attributes.
        needed: whether missing columns are an error.
        policy: what becomes of images that may not train, and images that were withdrawn are left out; not for images
            with attributes. None: the items train nothing, and all are read.

    Raises:
        InputError: an item cannot be read or used; or features state no consent, and `policy` refuses such items.
    """
    withdrawn = [] if policy is None else withdrawals(open_workspace(settings()))
    policy = policy or NO_POLICY
    if path.suffix == ".npz" and not policy.unstated and policy.consent != "ignore":
        raise InputError(
            f"`consent: {{unstated: refused}}` refuses items that state no consent, and features such as {path} state "
            "none; give images with `training_mining` or `consent`, or set `unstated: allowed`"
        )
    table = table_of(path) if attributes else None
    inputs = ReadInputs(
        files=_digest(path),
        size=size,
        attributes=list(attributes),
        needed=needed or not attributes,
        table=_digest(table) if table is not None and table.is_file() else None,
        names=_names(path),
        policy=policy,
        withdrawn=withdrawn,
    )
    # The folder of the source is no part of the key, so the worker receives it in addition to the inputs of the stage.
    modules = (module_of(reading_worker.read),)
    key = READ_ITEMS.key(inputs, modules)

    def compute(_: Workspace) -> ReadOutputs:
        source, total = LocatedSource(str(path), inputs), policy.passes * count_items(path)
        return call_in_worker(reading_worker.read, source, key, title=f"Read {path.name}", total=total)

    return run_stage(READ_ITEMS, inputs, compute, modules=modules)


def common_side(*paths: Path) -> int:
    """Side in pixels at which the images of all sources are read: that of the smallest, from 8 to 224.

    A network tells enlarged images from sharp ones before it looks at what they show, so all sources are read at one
    size, and none is enlarged.
    """
    sides = [side for path in paths if (side := typical_side(path)) is not None]
    return min(max(min(sides, default=LEAST_SIDE), LEAST_SIDE), MOST)


@task(name="convert images", cache_policy=NO_CACHE)
def colour(items: ItemsOutputs) -> Coloured:
    """Convert greyscale items to colour."""
    return run_in_worker(COLOUR, ColourInputs(items.items), reading_worker.colour, title="Repeat channels")


def alike(*sides: ItemsOutputs) -> tuple[ItemsOutputs, ...]:
    """Make sides comparable: if one has colour images, convert greyscale images of the others to colour."""
    if not any(side.shape and side.shape[0] == 3 for side in sides):
        return sides
    return tuple(colour(side).outputs if side.shape and side.shape[0] == 1 else side for side in sides)


@task(name="train encoder", cache_policy=NO_CACHE)
def train_encoder(val: ItemsOutputs, encoding: EncodingConfig, seed: int) -> EncoderTrained:
    """Train an encoder on the validation images."""
    inputs = EncoderInputs(val.items, encoding, seed)
    return run_in_worker(
        TRAIN_ENCODER, inputs, encoder_worker.train_encoder, title="Train encoder", total=encoding.steps
    )


def _names(path: Path) -> str:
    """SHA-256 of the file names and sources of images."""
    if path.suffix == ".npz":
        return ""
    names: Any = list_images(path).provenance(path) if path.is_dir() else path.name
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def _digest(path: Path) -> str:
    """SHA-256 of the contents of a source."""
    if path.is_dir():
        return list_images(path).digest()
    if not path.is_file():
        raise InputError(
            f"a source is a folder of images, a Parquet file or an .npz file; {path} does not exist. Give another path"
        )
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

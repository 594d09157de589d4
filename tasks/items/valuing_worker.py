"""What runs in a process of its own: items are read, embedded and valued. Imports no orchestration."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.weights import WeightsStore
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.attributes import read_attributes
from royalty.models.data.labelled import Items, numbered, read_items
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.preact_resnet import PreActResNet18
from royalty.models.encoders.registry import build_encoder
from royalty.models.encoders.representation import represent
from royalty.models.valuation.batches import Agreement, Plan, Share, Valued, extend_plan, plan_values, take
from royalty.models.valuation.items import ItemValues, with_lowest
from royalty.models.valuation.knn_shapley import knn_shapley_values
from royalty.models.valuation.lava import lava_values
from royalty.models.valuation.sava import agree, join, solve_share, value_share
from royalty.tasks.config.values import EncodingConfig, ValueConfig
from royalty.tasks.stages.device import best_device, one_gpu
from royalty.tasks.stages.stored_items import keep_items, load_items


class Named(Protocol):
    """An encoder, or another judge of images, whose name stands for all that it finds depends on."""

    @property
    def name(self) -> str: ...


EMBEDDED_TOGETHER = 4096
"""Images to a shard of embeddings: what a kill costs at most."""


def read(
    path: str, size: int, attributes: Sequence[str], needed: bool, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Read and keep the items of a source, with attributes; see `royalty.models.data.attributes`."""
    space = open_workspace(settings)
    known = read_attributes(Path(path), attributes, needed=needed) if attributes else None
    return keep_items(space, replace(read_items(Path(path), size=size, progress=advance), attributes=known))


def colour(items: str, settings: Settings, advance: Advance) -> dict[str, Any]:
    """Keep greyscale images as colour ones of three equal channels; their ids stay."""
    space = open_workspace(settings)
    loaded = load_items(space, items)
    if loaded.images is None:
        raise InputError("one side has images and the other features; give both as images, or both as features")
    return keep_items(space, replace(loaded, images=np.repeat(loaded.images, 3, axis=1)))


def train_encoder(
    items: str, encoding: EncodingConfig, seed: int, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Train a classifier on labelled images; its last activations are features."""
    torch.set_num_threads(os.cpu_count() or 1)
    space = open_workspace(settings)
    loaded = load_items(space, items)
    labels, _ = numbered(loaded.labels, loaded.labels)
    if loaded.images is None or labels is None:
        raise InputError("`encoding.encoder: preact-resnet18` is trained on validation images with labels; add labels")
    began = time.perf_counter()
    net = trained_encoder(encoding, loaded.images, labels, seed, advance)
    return {"model": space.artifacts.put(net.to_bytes()), "busy_seconds": time.perf_counter() - began}


def trained_encoder(
    encoding: EncodingConfig, images: np.ndarray, labels: np.ndarray, seed: int, advance: Advance
) -> PreActResNet18:
    names, targets = np.unique(labels, return_inverse=True)
    net = PreActResNet18(images.shape[1], len(names), width=encoding.width, seed=seed).to(best_device())
    net.fit(images, targets, steps=encoding.steps, seed=seed, progress=advance)
    return net


def embed(items: str, encoder: str, model: str, settings: Settings, advance: Advance) -> dict[str, Any]:
    """Embed the images that no earlier valuation embedded; the name that stands for the encoder."""
    torch.set_num_threads(os.cpu_count() or 1)
    space = open_workspace(settings)
    loaded = load_items(space, items)
    if loaded.images is None:
        raise InputError("one side has images and the other features; give both as images, or both as features")
    began, weights = time.perf_counter(), WeightsStore(settings.weights_root)
    net: Encoder = (
        PreActResNet18.from_bytes(space.artifacts.get(model)).to(best_device())
        if model
        else build_encoder(encoder, shape=shape_of(loaded.images), device=best_device(), weights=weights.locate)
    )
    embedded = embed_missing(space, net, loaded.images, loaded.ids, advance)
    return {
        "encoder": embedding_key(net, loaded.images),
        "embedded": embedded,
        "busy_seconds": time.perf_counter() - began,
    }


def embed_missing(space: Workspace, net: Encoder, images: np.ndarray, ids: Sequence[str], advance: Advance) -> int:
    """Embed and keep the images whose ids have no embedding by this encoder yet; how many those were."""
    key = embedding_key(net, images)
    found, _ = space.embeddings.lookup(key, ids)
    missing = np.flatnonzero(~found)
    advance(int(found.sum()))
    for start in range(0, len(missing), EMBEDDED_TOGETHER):
        rows = missing[start : start + EMBEDDED_TOGETHER]
        features = net.features(images[rows], progress=advance)
        space.embeddings.add(key, [ids[row] for row in rows], features)
    return len(missing)


def embedding_key(net: Named, images: np.ndarray) -> str:
    """What is found of images depends on beside their ids, which are of images before they were resized."""
    channels, size, _ = shape_of(images)
    return f"{net.name}@{channels}x{size}"


def value(config: ValueConfig, sides: dict[str, str], settings: Settings, advance: Advance) -> dict[str, Any]:
    """Value all items in this process."""
    torch.set_num_threads(os.cpu_count() or 1)
    space = open_workspace(settings)
    began = time.perf_counter()
    loaded = load_sides(space, config, sides)
    if config.method == "knn-shapley":
        if loaded.train_labels is None or loaded.val_labels is None:
            raise InputError("KNN-Shapley compares labels, and there are none; value by `lava` or `sava`")
        values = knn_shapley_values(
            loaded.train_features,
            loaded.train_labels,
            loaded.val_features,
            loaded.val_labels,
            k=config.valuing.neighbours,
        )
    else:
        values = lava_values(
            loaded.train_features,
            loaded.train_labels,
            loaded.val_features,
            loaded.val_labels,
            **asdict(config.valuing.options),
            device=torch.device(best_device()),
        )
    advance(1)
    return _store(space, loaded, values, began)


def plan(
    config: ValueConfig, sides: dict[str, str], kept: dict[str, str], settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Survey all items, and divide the work into shares.

    Args:
        kept: `plan` and `train`, digests of the plan to extend and of the items it was made for; empty: a new one.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    space = open_workspace(settings)
    began = time.perf_counter()
    loaded = load_sides(space, config, sides)
    names = loaded.names
    if kept:
        before = load_sides(space, config, {**sides, "train": kept["train"]}).names
        old = Plan.from_bytes(space.artifacts.get(kept["plan"]))
        planned, shares = extend_plan(old, before, names, loaded.train_labels, config.batching)
    else:
        train, val = (loaded.train_features, loaded.train_labels), (loaded.val_features, loaded.val_labels)
        device = torch.device(best_device())
        planned, shares = plan_values(train, val, config.valuing.options, config.batching, device), 0
    advance(1)
    return {
        "plan": space.artifacts.put(planned.to_bytes()),
        "ground": hashlib.sha256(planned.common().to_bytes()).hexdigest(),
        "shares": [digest_of([[names[row] for row in batch] for batch in share]) for share in planned.shares],
        "kept": sum(map(len, planned.shares[:shares])),
        "busy_seconds": time.perf_counter() - began,
    }


def solve_one_share(
    config: ValueConfig, sides: dict[str, str], planned: str, share: int, threads: int, settings: Settings, _: Advance
) -> dict[str, Any]:
    """Transport the batches of one share."""
    torch.set_num_threads(threads)
    space = open_workspace(settings)
    began = time.perf_counter()
    loaded, whole = load_sides(space, config, sides), Plan.from_bytes(space.artifacts.get(planned))
    train = loaded.train_features, loaded.train_labels
    batches = (take(train, rows) for rows in whole.shares[share])
    with one_gpu(space.root / "locks"):
        solved = solve_share(whole, batches, torch.device(best_device()))
    return {"share": space.artifacts.put(solved.to_bytes()), "busy_seconds": time.perf_counter() - began}


def agree_shares(planned: str, shares: list[str], settings: Settings, advance: Advance) -> dict[str, Any]:
    """Transport the batches of both sides, and average the potentials."""
    space = open_workspace(settings)
    solved = [Share.from_bytes(space.artifacts.get(share)) for share in shares]
    agreed = agree(Plan.from_bytes(space.artifacts.get(planned)), solved)
    advance(1)
    return {"agreement": space.artifacts.put(agreed.to_bytes())}


def value_one_share(
    config: ValueConfig,
    sides: dict[str, str],
    planned: str,
    agreed: str,
    share: int,
    threads: int,
    settings: Settings,
    _: Advance,
) -> dict[str, Any]:
    """Value the items of one share."""
    torch.set_num_threads(threads)
    space = open_workspace(settings)
    began = time.perf_counter()
    loaded, whole = load_sides(space, config, sides), Plan.from_bytes(space.artifacts.get(planned))
    train = loaded.train_features, loaded.train_labels
    batches = (take(train, rows) for rows in whole.shares[share])
    first = sum(map(len, whole.shares[:share]))
    agreement = Agreement.from_bytes(space.artifacts.get(agreed))
    with one_gpu(space.root / "locks"):
        valued = value_share(whole, agreement, batches, first, torch.device(best_device()))
    return {"values": space.artifacts.put(valued.to_bytes()), "busy_seconds": time.perf_counter() - began}


def join_shares(
    config: ValueConfig,
    sides: dict[str, str],
    planned: str,
    agreed: str,
    shares: list[str],
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """Put the values of all shares together."""
    space = open_workspace(settings)
    began = time.perf_counter()
    valued = [Valued.from_bytes(space.artifacts.get(share)) for share in shares]
    agreement = Agreement.from_bytes(space.artifacts.get(agreed))
    values = join(Plan.from_bytes(space.artifacts.get(planned)), agreement, valued)
    advance(1)
    return _store(space, load_sides(space, config, sides), values, began)


@dataclass(frozen=True)
class Sides:
    """Both sides of a valuation as the methods take them.

    Attributes:
        train: all training items, those with an unseen label too.
        known: bool, `(items,)`, which of them are in `train_features`.
    """

    train: Items
    known: np.ndarray
    train_features: np.ndarray
    train_labels: np.ndarray | None
    val_features: np.ndarray
    val_labels: np.ndarray | None

    @property
    def names(self) -> list[str]:
        """What tells the known training items apart: pixels, or features where there are none, and label."""
        ids: Sequence[str] = self.train.ids
        if self.train.features is not None:  # their ids may be row numbers, which another item may have tomorrow
            ids = [hashlib.sha256(row.tobytes()).hexdigest() for row in self.train.features]
        labels = [""] * len(ids) if self.train.labels is None else self.train.labels.tolist()
        return [f"{own} {label}" for own, label, known in zip(ids, labels, self.known, strict=True) if known]


def load_sides(space: Workspace, config: ValueConfig, sides: dict[str, str]) -> Sides:
    """Load features and labels.

    Args:
        sides: `train` and `val`, digests of items, and `encoder`, the name of what embedded them, "" for features.
    """
    train, val = load_items(space, sides["train"]), load_items(space, sides["val"])
    labels, val_labels = numbered(train.labels, val.labels)
    known = np.ones(len(train), dtype=bool)
    if labels is not None and val_labels is not None and config.unseen_label == "worst":
        known = np.isin(labels, val_labels)
        if not known.any():
            raise InputError("no training item has a label that validation has; were both sides labelled alike?")
    features, val_features = (features_of(space, items, sides["encoder"]) for items in (train, val))
    features, labels = features[known] if not known.all() else features, None if labels is None else labels[known]
    if sides["encoder"]:
        features, val_features = represent(features, val_features, val_labels, config.encoding.representation)
    return Sides(train, known, features, labels, val_features, val_labels)


def features_of(space: Workspace, items: Items, encoder: str) -> np.ndarray:
    if items.features is not None:
        return items.features
    found, features = space.embeddings.lookup(encoder, items.ids)
    if not found.all():
        raise InputError(f"{int((~found).sum())} of the images have no embedding; was a part of the home deleted?")
    return features


def shape_of(images: np.ndarray) -> tuple[int, int, int]:
    _, channels, height, width = images.shape
    return channels, height, width


def _store(space: Workspace, sides: Sides, values: ItemValues, began: float) -> dict[str, Any]:
    """Keep the table of values, in the order of the items."""
    every = values if sides.known.all() else with_lowest(values, sides.known)
    items = sides.train
    columns: dict[str, Any] = {"id": items.ids}
    if items.labels is not None:
        columns["label"] = items.labels
    if items.contributors is not None:
        columns["contributor"] = items.contributors
    table = pd.DataFrame({**columns, "value": every.values})
    return {
        "table": space.artifacts.put(table.to_parquet(index=False)),
        "items": len(table),
        "diagnostics": every.diagnostics,
        "busy_seconds": time.perf_counter() - began,
    }

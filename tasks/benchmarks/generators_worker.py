"""What runs in a process of its own: training sets are drawn, and generators trained on them and sampled.

Imports no orchestration.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.corruptions import add_noise
from royalty.models.data.items import item_id
from royalty.models.data.labelled import Items
from royalty.models.data.mnist import mnist_digits
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.generators.dcgan import DCGAN
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.unets import Architecture
from royalty.models.properties.classifier import Classifier
from royalty.tasks.config.criteria import GeneratorName
from royalty.tasks.items.valuing_worker import shape_of
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.stored_items import keep_items, load_items

BLOCK_CHANNELS, SAMPLING_STEPS, EMA_DECAY = (16, 32, 32), 10, 0.99
"""Of the DDPM."""

TRAINING: dict[GeneratorName, dict[str, Any]] = {
    "ddpm": {"batch_size": 32, "learning_rate": 2e-3},
    "beta-vae": {"batch_size": 64, "learning_rate": 1e-3},
    "dcgan": {"batch_size": 64, "learning_rate": 2e-4},
}

CLASSIFIED = 0.2
"""Share of the labelled images that the classifier is judged by, and not trained on."""


def draw(source: str, items: int | None, seed: int, settings: Settings, advance: Advance) -> dict[str, Any]:
    """Keep as many labelled images of a source as are wanted, the same share of each class.

    Args:
        source: digest of items; "" for MNIST.
    """
    space = open_workspace(settings)
    whole = load_items(space, source) if source else _digits()
    images = images_of(whole)
    # With attributes to compare, images need no labels; all are then of one class.
    labels = labelled(whole)[1] if whole.attributes is None else np.zeros(len(images))
    if items is None:
        return keep_items(space, whole)
    if items > len(labels):
        raise InputError(f"`items` are drawn from the {len(labels)} images of the source; got {items}. Take fewer")
    return keep_items(space, _rows(whole, np.sort(_spread(labels, seed)[:items])))


def halve(items: str, label: str | None, seed: int, settings: Settings, advance: Advance) -> dict[str, Any]:
    """Keep all but half of one class; `trained` and `held_out` are the rows of its halves."""
    space = open_workspace(settings)
    whole = load_items(space, items)
    labels = labelled(whole)[1]
    names = labels.astype(str)
    chosen = str(np.unique(labels)[0]) if label is None else label
    own = np.flatnonzero(names == chosen)
    if len(own) < 4:
        raise InputError(
            f"each half of a class has at least two images; {chosen!r} has {len(own)} in all. Set `halved` to one of "
            f"{', '.join(np.unique(names))}"
        )
    shuffled = np.random.default_rng(seed).permutation(own)
    trained, held_out = (np.sort(half) for half in np.split(shuffled, [len(own) // 2]))
    rest = np.delete(np.arange(len(labels)), held_out)
    halves = {"trained": trained.tolist(), "held_out": held_out.tolist(), "label": chosen}
    return keep_items(space, _rows(whole, rest)) | halves


def plant(items: str, share: float, seed: int, settings: Settings, advance: Advance) -> dict[str, Any]:
    """Keep the items with noise in some of them, of which `planted` are the rows."""
    space = open_workspace(settings)
    whole = load_items(space, items)
    images, labels = labelled(whole)
    noisy = add_noise(images, np.unique(labels, return_inverse=True)[1], share=share, seed=seed)
    planted = np.flatnonzero(noisy.planted).tolist()
    ids = list(whole.ids)
    for row in planted:
        ids[row] = item_id(noisy.images[row])
    return keep_items(space, Items(tuple(ids), noisy.images, None, labels, None)) | {"planted": planted}


def fit(
    items: str, generator: GeneratorName, steps: int, parts: int, seed: int, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Train a generator; digests of its checkpoints, of which the last is the trained one."""
    torch.set_num_threads(os.cpu_count() or 1)
    space, began = open_workspace(settings), time.perf_counter()
    images = images_of(load_items(space, items))
    shape, device = shape_of(images), best_device()
    given = {**TRAINING[generator], "progress": advance}
    model: DDPM | BetaVAE | DCGAN
    checkpoints = []
    if generator == "ddpm":
        model = DDPM.build(Architecture(shape[1], shape[0], BLOCK_CHANNELS, 1), seed=seed).to(device)
        model.fit(images, steps=steps, ema_decay=EMA_DECAY, seed=seed, **given)
        checkpoints = [space.artifacts.put(model.to_bytes())]
    elif generator == "dcgan":
        model = DCGAN(shape, seed=seed).to(device)
        model.fit(images, steps=steps, seed=seed, **given)
        checkpoints = [space.artifacts.put(model.to_bytes())]
    else:
        model = BetaVAE(shape, seed=seed).to(device)
        ends = np.linspace(0, steps, parts + 1).astype(int)
        for part, own in enumerate(np.diff(ends).tolist()):
            model.fit(images, steps=own, seed=seed + part, **given)
            checkpoints.append(space.artifacts.put(model.to_bytes()))
    return {"models": checkpoints, "busy_seconds": time.perf_counter() - began}


def sample(
    model: str, generator: GeneratorName, images: int, seed: int, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Keep images that a generator makes."""
    torch.set_num_threads(os.cpu_count() or 1)
    space, payload = open_workspace(settings), open_workspace(settings).artifacts.get(model)
    device = best_device()
    if generator == "ddpm":
        made = DDPM.from_bytes(payload).to(device).sample(images, seed=seed, steps=SAMPLING_STEPS, progress=advance)
    else:
        net = (BetaVAE if generator == "beta-vae" else DCGAN).from_bytes(payload).to(device)
        made = net.sample(images, seed=seed)
        advance(images)
    return keep_items(space, Items.of_images(made))


def fit_classifier(
    items: str, attribute: str, steps: int, seed: int, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Train a classifier on four fifths of the images; its accuracy on the others.

    Args:
        attribute: that is told from its absence; "" tells classes apart.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    space = open_workspace(settings)
    whole = load_items(space, items)
    images, labels = (images_of(whole), attributes_of(whole)[attribute]) if attribute else labelled(whole)
    names, targets = np.unique(labels, return_inverse=True)
    if attribute and len(names) < 2:
        raise InputError(
            f"{'all' if names[0] else 'no'} training images have the attribute {attribute!r}, so that it cannot be "
            "told; leave it out"
        )
    held_out, own = np.split(_spread(targets, seed), [round(CLASSIFIED * len(targets))])
    classifier = Classifier(images.shape[1], len(names), seed=seed)
    classifier.fit(images[own], targets[own], steps=steps, seed=seed, progress=advance)
    accuracy = classifier.accuracy(images[held_out], targets[held_out])
    return {"classifier": space.artifacts.put(classifier.to_bytes()), "accuracy": accuracy}


def classify(made: str, items: str, classifier: str, settings: Settings, advance: Advance) -> dict[str, Any]:
    """Keep generated images with the classes that a classifier sees in them."""
    space = open_workspace(settings)
    images = images_of(load_items(space, made))
    names = np.unique(labelled(load_items(space, items))[1])
    seen = Classifier.from_bytes(space.artifacts.get(classifier)).probabilities(images).argmax(axis=1)
    kept = load_items(space, made)
    return keep_items(space, Items(kept.ids, images, None, names[seen], None))


def find_attributes(made: str, classifiers: Mapping[str, str], settings: Settings, advance: Advance) -> dict[str, Any]:
    """Keep generated images with the attributes that a classifier of each sees in them."""
    space = open_workspace(settings)
    kept = load_items(space, made)
    seen = {}
    for name, digest in classifiers.items():
        classifier = Classifier.from_bytes(space.artifacts.get(digest))
        seen[name] = classifier.probabilities(images_of(kept)).argmax(axis=1) == 1
    return keep_items(space, replace(kept, attributes=seen))


def labelled(items: Items) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of items that are judged by them.

    Raises:
        InputError: items without images or labels.
    """
    if items.labels is None:
        raise InputError("criteria compare the classes of training images; add labels to the training set")
    return images_of(items), items.labels


def attributes_of(items: Items) -> Mapping[str, np.ndarray]:
    if items.attributes is None:
        raise InputError("these images were read without attributes; name their columns in `attribute_columns`")
    return items.attributes


def images_of(items: Items) -> np.ndarray:
    if items.images is None:
        raise InputError("criteria are of images, and one side has features; give both as images")
    return items.images


def _digits() -> Items:
    images, labels = mnist_digits()
    return Items(tuple(item_id(image[0]) for image in images), images, None, labels, None)


def _rows(items: Items, rows: np.ndarray) -> Items:
    ids, labels, known = tuple(items.ids[row] for row in rows), items.labels, items.attributes
    return Items(
        ids,
        images_of(items)[rows],
        None,
        labels=None if labels is None else labels[rows],
        contributors=None,
        attributes=None if known is None else {name: has[rows] for name, has in known.items()},
    )


def _spread(labels: np.ndarray, seed: int) -> np.ndarray:
    """All rows in an order of which each beginning has the classes in their shares, to within one image."""
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        place[generator.permutation(own)] = (np.arange(len(own)) + generator.random()) / len(own)
    return np.argsort(place, kind="stable")

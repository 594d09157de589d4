"""Worker code: plant a corruption, detect it by each method, and train without the detected items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError, Refusals
from royalty.models.data.corruptions import CORRUPTIONS, Corrupted
from royalty.models.data.items import item_id
from royalty.models.data.labelled import numbered
from royalty.models.data.planting import equal_shares
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.registry import build_encoder
from royalty.models.encoders.representation import represent
from royalty.models.judging.detection import detection, discoveries
from royalty.models.judging.network_tracin import network_tracin_values
from royalty.models.valuation.calibration import selected
from royalty.models.valuation.detector import detect_items
from royalty.tasks.benchmarks.detection_methods import BY_DISTANCE, method_of
from royalty.tasks.benchmarks.detection_stages import CheckInputs, DetectInputs, DetectOutputs
from royalty.tasks.benchmarks.removal_worker import Retraining, attack_of
from royalty.tasks.config.detection import DetectionSettings, Looking
from royalty.tasks.items.embeddings import embed_missing, embedding_key, shape_of
from royalty.tasks.items.encoder_worker import trained_encoder
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.stage import TableRow


def detect(inputs: DetectInputs, context: StageContext) -> DetectOutputs:
    """Detect a corruption by each method, and train classifiers without the items of lowest value.

    One is linear, on principal components of the encoder's features; the other is a convolutional network, if it has
    steps. They are judged by validation images that no method sees.
    """
    torch.set_num_threads(cores())
    began, settings = time.perf_counter(), inputs.config
    trial = prepared(inputs, context)
    whole = trial.retraining.without(np.empty(0, dtype=int))
    context.advance(1)
    rows: list[TableRow] = []
    curves: dict[str, list[float]] = {}
    accuracy: list[TableRow] = []
    failed: dict[str, str] = {}
    flagged: list[TableRow] = []
    for method in settings.methods:
        started = time.perf_counter()
        try:
            values = trial.values(settings.model_copy(update={"seed": inputs.seed}), method)
        except InputError as error:  # the other methods are not lost
            failed[method] = str(error)
            continue
        finally:
            context.advance(1)
        seconds = time.perf_counter() - started
        title: TableRow = {"corruption": inputs.corruption, "method": method, "draw": inputs.draw}
        result = detection(values, trial.corrupted.planted)
        rates = {"first_fifth": result.first_fifth, "first_500": result.among_first(500), "auroc": result.auroc}
        counts = {"planted": result.planted, "items": len(values)}
        rows.append(title | rates | counts | {"seconds": seconds})
        curves[method] = result.curve()
        accuracy += [title | row for row in _removals(trial, values, settings.removed, whole)]
        if method == "detector":
            flagged = [title | row for row in _flagged(values, trial.corrupted.planted, settings.fdr)]
    return DetectOutputs(rows, curves, accuracy, time.perf_counter() - began, failed, flagged)


def check(inputs: CheckInputs, context: StageContext) -> int:
    """Check that every corruption can be planted in the images, without the descent that one of them needs.

    Returns:
        The number of corruptions.

    Raises:
        InputError: some cannot; all of them are named.
    """
    refused = Refusals()
    for corruption in inputs.corruptions:
        with refused.collect():
            try:
                labels_of(DetectInputs(corruption, inputs.config, inputs.sides), context)
            except InputError as error:
                raise InputError(f"`{corruption}`: {error}") from None
        context.advance(1)
    refused.check("corruptions cannot be planted in these images; leave them out of `corruptions`")
    return len(inputs.corruptions)


def labels_of(inputs: DetectInputs, context: StageContext) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the corrupted training items and of the methods' validation items, without embedding an image.

    Raises:
        InputError: the corruption cannot be planted.
    """
    train, val = _drawn(inputs, context)
    seen = _seen(val, inputs.config)
    quick = {"steps": 0} if inputs.corruption == "poison-frogs" else {}
    corrupted = _corrupted(inputs, torch.nn.Flatten(), train, val.rows(~seen), **quick)
    corrupted, clean = _kept(inputs, corrupted, val.labels[seen])
    return corrupted.labels, val.labels[seen][clean]


@dataclass(frozen=True)
class _Labelled:
    """Images, `(items, channels, height, width)`, and their labels, `(items,)`."""

    images: np.ndarray
    labels: np.ndarray

    def rows(self, rows: np.ndarray) -> _Labelled:
        return _Labelled(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Trial:
    """A corrupted training set, and clean validation items: one part for the methods, one for the classifier.

    Attributes:
        corrupted: the training set.
        features: encoder features of the training items and of the methods' validation items, `(items, dimensions)`.
        represented: the same in the configured representation.
        val_images, val_labels: images and labels of the methods' validation items.
        retraining: trains classifiers without some of the training items.
    """

    corrupted: Corrupted
    features: tuple[np.ndarray, np.ndarray]
    represented: tuple[np.ndarray, np.ndarray]
    val_images: np.ndarray
    val_labels: np.ndarray
    retraining: Retraining

    def values(self, settings: DetectionSettings, method: Looking, validation: bool = True) -> np.ndarray:
        """Values of the training items, `(items,)`; higher is more valuable.

        Args:
            validation: whether the detector sees validation.
        """
        if method == "tracin-network":
            sides = (self.corrupted.images, self.corrupted.labels), (self.val_images, self.val_labels)
            return network_tracin_values(*sides[0], *sides[1], seed=settings.seed, device=best_device()).values
        train, val = self.represented if method in BY_DISTANCE else self.features
        if method == "detector":  # which compares features itself, and labels by its own classifiers
            train, val = represent(*self.features, None, "features")
            if not validation:
                return detect_items(train, self.corrupted.labels, seed=settings.seed).scores
        return method_of(settings, method)(train, self.corrupted.labels, val, self.val_labels).values

    def with_validation(self, rows: np.ndarray, labels: np.ndarray, settings: DetectionSettings) -> Trial:
        """The same training items with some of the validation items, and other labels of these, `(rows,)`."""
        features = self.features[0], self.features[1][rows]
        represented = represent(*features, labels, settings.encoding.representation)
        images = self.val_images[rows]
        return replace(self, features=features, represented=represented, val_images=images, val_labels=labels)


def prepared(inputs: DetectInputs, context: StageContext) -> Trial:
    """Draw items, plant the corruption, and embed both sides."""
    settings = inputs.config
    train, val = _drawn(inputs, context)
    seen = _seen(val, settings)
    net = _encoder(settings, val.rows(seen), context)
    # The target of poisoned images is one that no method sees.
    corrupted = _corrupted(inputs, net.embed, train, val.rows(~seen))
    corrupted, clean = _kept(inputs, corrupted, val.labels[seen])
    test = val.rows(~seen & np.isin(val.labels, corrupted.labels))  # without a class that the corruption removed
    attack = attack_of(inputs.corruption, test.images, test.labels, np.unique(train.labels))
    val = val.rows(seen).rows(clean)
    attacking = test.images[:0] if attack is None else attack.images
    features, for_methods, *unseen = (
        _embedded(context, net, images) for images in (corrupted.images, val.images, test.images, attacking)
    )
    represented = represent(features, for_methods, val.labels, settings.encoding.representation)
    components, _ = represent(np.concatenate([features, *unseen]), for_methods, None, "principal")
    of_train, of_test, of_attack = np.split(components, np.cumsum([len(features), len(test.labels)]))
    return Trial(
        corrupted,
        features=(features, for_methods),
        represented=represented,
        val_images=val.images,
        val_labels=val.labels,
        retraining=Retraining(
            corrupted,
            of_train,
            of_test,
            of_attack,
            test=test.images,
            test_labels=test.labels,
            attack=attack,
            network_steps=settings.network_steps,
            seed=inputs.seed,
        ),
    )


def _flagged(scores: np.ndarray, planted: np.ndarray, rates: Sequence[float]) -> Iterator[TableRow]:
    """What the detector flags at each false discovery rate, by its scores, which are logarithms of p-values."""
    for rate in rates:
        yield {"fdr": rate} | asdict(discoveries(selected(np.exp(scores), rate), planted))


def _removals(
    trial: Trial, values: np.ndarray, shares: tuple[float, ...], whole: Sequence[TableRow]
) -> Iterator[TableRow]:
    """Classifiers without the items of lowest value, for each fraction of items removed.

    Args:
        whole: those with all items.
    """
    order = np.argsort(values, kind="stable")
    for share in (0.0, *shares):
        removed = order[: round(share * len(order))]
        for row in trial.retraining.without(removed) if len(removed) else whole:
            yield {"removed": share} | row


def _drawn(inputs: DetectInputs, context: StageContext) -> tuple[_Labelled, _Labelled]:
    """Draw images and labels of both sides."""
    settings = inputs.config
    train, val = (load_items(context.artifacts, digest) for digest in (inputs.sides.train, inputs.sides.val))
    labels, val_labels = numbered(train.labels, val.labels)
    if train.images is None or val.images is None or labels is None or val_labels is None:
        raise InputError("corruptions are planted in images with labels; give both, for training and validation")
    generator = np.random.default_rng(inputs.seed)
    rows = np.sort(generator.permutation(len(labels))[: settings.items])
    val_rows = np.sort(generator.permutation(len(val_labels))[: settings.val_items])
    return _Labelled(train.images, labels).rows(rows), _Labelled(val.images, val_labels).rows(val_rows)


def _seen(val: _Labelled, settings: DetectionSettings) -> np.ndarray:
    """Draw the validation images that methods see; the others test classifiers: bool, `(validation items,)`."""
    seen: np.ndarray = np.random.default_rng(settings.seed).random(len(val.labels)) >= settings.test
    return seen


def _kept(inputs: DetectInputs, corrupted: Corrupted, val_labels: np.ndarray) -> tuple[Corrupted, np.ndarray]:
    """Keep the class shares, if they are to be kept; returns the training set and positions of validation items."""
    if inputs.config.planting.class_shares == "changed":
        return corrupted, np.flatnonzero(np.isin(val_labels, corrupted.labels))
    rows, val_rows = equal_shares(corrupted.labels, corrupted.planted, val_labels, inputs.seed)
    return Corrupted(corrupted.images[rows], corrupted.labels[rows], corrupted.planted[rows]), val_rows


def _encoder(settings: DetectionSettings, val: _Labelled, context: StageContext) -> Encoder:
    """Build the configured encoder, or train it on the methods' validation items."""
    encoding = settings.encoding
    if encoding.trained_here:
        return trained_encoder(encoding, val.images, val.labels, settings.seed, _unseen)
    locate = context.weights.locate
    return build_encoder(encoding.encoder, shape=shape_of(val.images), device=best_device(), weights=locate)


def _corrupted(
    inputs: DetectInputs,
    embed: Callable[[torch.Tensor], torch.Tensor],
    train: _Labelled,
    val: _Labelled,
    **more: Any,
) -> Corrupted:
    """Plant a corruption. The first, second and third label are the target, poisoned and removed class.

    Args:
        val: images of which one is the target of poisoned images.
    """
    amount, classes, corruption = inputs.config.planting, np.unique(train.labels), inputs.corruption
    options: dict[str, Any]
    if corruption == "flipped-labels":
        options = {"share": amount.flipped}
    elif corruption == "noise":
        options = {"share": amount.noise}
    elif corruption == "irrelevant-class":
        options = {"removed": int(classes[2 % len(classes)])}
    elif corruption == "poison-frogs":
        targets = np.flatnonzero(val.labels == classes[0])
        if not len(targets) or len(classes) < 2:
            raise InputError(
                "poisoned images of the second label collide with a validation image of the first; there are "
                f"{len(classes)} labels and {len(targets)} such images. Draw more items"
            )
        options = {
            "target": val.images[targets[0]],
            "poison_class": int(classes[1]),
            "count": amount.poisoned,
            "features": embed,
        }
    else:
        options = {"share": amount.backdoor, "target_label": int(classes[0])}
    if options.get("share") == 0:
        return Corrupted(train.images, train.labels.astype(np.int64), np.zeros(len(train.labels), dtype=bool))
    return CORRUPTIONS[corruption](train.images, train.labels, seed=inputs.seed, **options, **more)


def _embedded(context: StageContext, net: Encoder, images: np.ndarray) -> np.ndarray:
    ids = [item_id(image) for image in images]
    embed_missing(context.embeddings, net, images, ids, _unseen)
    return context.embeddings.lookup(embedding_key(net, images), ids)[1]


def _unseen(_steps: int) -> None:
    """Progress callback that shows nothing."""

"""Judge GMValuator as its paper does: by class, attributes, membership, outliers and time.

A generator is trained on images whose classes are known; what it makes is matched with them; and what stands
behind a generated image is compared with what should.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import flow

from royalty.flows.credit import RUNNER
from royalty.infra.settings import settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.tasks.benchmarks.criteria import judge, time_methods, trace, write_criterion
from royalty.tasks.benchmarks.generators import (
    classify,
    draw_items,
    find_attributes,
    halve,
    plant,
    sample,
    train_classifier,
    train_generator,
)
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.items.gmvaluator import match
from royalty.tasks.items.valuing import alike, embed, read
from royalty.tasks.stages.weights import check_weights

GIVEN = "given"
"""The generator of images that are not generated here."""


@dataclass(frozen=True)
class CriteriaResult:
    """What the judgement by one criterion left.

    Attributes:
        rows: as the table of the criterion has them, a generator and method each.
        more: rows of its other tables, by name: of identity `sensitivity`, to fewer generated images, and
            `calibration`, what the qualities of images change.
        accuracy: of the classifier of generated images on training images that it did not see, the lowest of several;
            None: labels or attributes were given.
        folder: holds the tables and pictures.
    """

    name: str
    criterion: str
    rows: list[dict[str, Any]]
    more: dict[str, list[dict[str, Any]]]
    accuracy: float | None
    folder: str
    mlflow_run: str


@dataclass(frozen=True)
class Made:
    """Images of a generator; `trained` holds its checkpoints, None where images were given."""

    generator: str
    images: StageRecord
    trained: StageRecord | None


@flow(name="evaluate-identity", task_runner=RUNNER)
def identity(config: CriteriaConfig) -> CriteriaResult:
    """C1: the most valuable images for a generated one should have its class."""
    check(config)
    items = drawn(config)
    sets, accuracy = with_classes(config, items, generate(config, items, config.images))
    judged = matched(config, items, sets, calibrate=True)
    judged += [traced(config, items, made) for made in sets if made.generator == "beta-vae" and config.tracin]
    found = judge("identity", judged, items=items.outputs["items"], ks=list(config.ks), seed=config.seed)
    return written("identity", config, found, judged, items, accuracy)


@flow(name="evaluate-attributes", task_runner=RUNNER)
def attributes(config: CriteriaConfig) -> CriteriaResult:
    """C2: they should have its attributes, one or two at a time."""
    check(config)
    items = drawn(config, config.attribute_columns)
    sets, accuracy = with_attributes(config, items, generate(config, items, config.images, config.attribute_columns))
    judged = matched(config, items, sets)
    found = judge("attributes", judged, items=items.outputs["items"], attributes=dict(config.attributes))
    return written("attributes", config, found, judged, items, accuracy)


@flow(name="evaluate-membership", task_runner=RUNNER)
def membership(config: CriteriaConfig) -> CriteriaResult:
    """Table 6: images that a generator was trained on should be worth more than others of their class."""
    refuse_given(config, "membership")
    items = drawn(config)
    halves = halve(items, config)
    judged = matched(config, items, generate(config, halves, config.valued_by))
    rows = {side: halves.outputs[side] for side in ("trained", "held_out")}
    return written("membership", config, judge("membership", judged, **rows), judged, None)


@flow(name="evaluate-outliers", task_runner=RUNNER)
def outliers(config: CriteriaConfig) -> CriteriaResult:
    """C3: images with noise, planted before the training, should be worth least."""
    refuse_given(config, "outliers")
    noisy = plant(drawn(config), config)
    judged = matched(config, noisy, generate(config, noisy, config.valued_by))
    found = judge("outliers", judged, planted=noisy.outputs["planted"])
    return written("outliers", config, found, judged, None)


@flow(name="evaluate-efficiency", task_runner=RUNNER)
def efficiency(config: CriteriaConfig) -> CriteriaResult:
    """C4: seconds for a generated image of a beta-VAE, beside VAE-TracIn."""
    refuse_given(config, "efficiency")
    items = drawn(config)
    trained = train_generator(items, "beta-vae", config)
    found = time_methods(config, items, sample(trained, config.images, config), trained)
    return written("efficiency", config, found, [], None)


def drawn(config: CriteriaConfig, attributes: Sequence[str] = ()) -> StageRecord:
    """The training images, with attributes where columns of them are named."""
    source = "" if config.train is None else read(config.train, config.size, attributes).outputs["items"]
    return draw_items(source, config)


def generate(config: CriteriaConfig, items: StageRecord, images: int, attributes: Sequence[str] = ()) -> list[Made]:
    """Images that were given, with attributes if they have them; or those of each generator, trained on the items."""
    if config.generated is not None:
        trained, given = alike(items, read(config.generated, config.size, attributes, needed=False))
        if trained is not items:
            raise InputError(
                "training images are greyscale and generated ones have colour; give training images of three channels"
            )
        return [Made(GIVEN, given, None)]
    made = []
    for generator in config.generators:
        trained = train_generator(items, generator, config)
        made.append(Made(generator, sample(trained, images, config), trained))
    return made


def with_classes(config: CriteriaConfig, items: StageRecord, sets: Sequence[Made]) -> tuple[list[Made], float | None]:
    """Generated images with their classes, and the accuracy of the classifier that saw them, where one did."""
    if all(made.images.outputs.get("labelled") for made in sets):
        return list(sets), None
    classifier = train_classifier(items, config)
    seen = [Made(made.generator, classify(made.images, items, classifier), made.trained) for made in sets]
    return seen, classifier.outputs["accuracy"]


def with_attributes(
    config: CriteriaConfig, items: StageRecord, sets: Sequence[Made]
) -> tuple[list[Made], float | None]:
    """Generated images with their attributes, and the lowest accuracy of the classifiers that saw them, where some did.

    Where no columns are named, attributes follow from classes.
    """
    if not config.attribute_columns:
        return with_classes(config, items, sets)
    if all(made.images.outputs["attributes"] for made in sets):
        return list(sets), None
    classifiers = {name: train_classifier(items, config, name) for name in config.attribute_columns}
    seen = [Made(made.generator, find_attributes(made.images, classifiers), made.trained) for made in sets]
    return seen, min(classifier.outputs["accuracy"] for classifier in classifiers.values())


def matched(
    config: CriteriaConfig, items: StageRecord, sets: Sequence[Made], *, calibrate: bool = False
) -> list[dict[str, str]]:
    """What GMValuator finds with each re-ranking; to calibrate, without the quality of images too."""
    embed(items, config.encoder, "")
    judged = []
    for made in sets:
        encoder = embed(made.images, config.encoder, "").outputs["encoder"]
        for rerank in config.rerank:
            sides = items.outputs, made.images.outputs, encoder
            found = match(*sides, config.matching(rerank)).outputs
            plain = match(*sides, config.matching(rerank, quality="none")).outputs if calibrate else {}
            judged.append(
                {
                    "generator": made.generator,
                    "method": rerank,
                    "made": made.images.outputs["items"],
                    "table": found["table"],
                    "contributions": found["contributions"],
                    "uncalibrated": plain.get("contributions", ""),
                }
            )
    return judged


def traced(config: CriteriaConfig, items: StageRecord, made: Made) -> dict[str, str]:
    """What VAE-TracIn finds for images of a beta-VAE."""
    if made.trained is None:
        raise InputError("VAE-TracIn looks at the checkpoints of a beta-VAE, and these images were given")
    contributions = trace(items, made.images, made.trained, config).outputs["contributions"]
    digests = {"made": made.images.outputs["items"], "table": "", "contributions": contributions, "uncalibrated": ""}
    return {"generator": made.generator, "method": "vae-tracin", **digests}


def check(config: CriteriaConfig) -> None:
    """Refuse, before anything is trained, what cannot end: a home that is no folder, or weights that are not here."""
    check_home(settings().root)
    check_weights(config.encoder, config.quality, *config.rerank)


def refuse_given(config: CriteriaConfig, criterion: str) -> None:
    """Where a generator has to be trained for the criterion, generated images cannot be given."""
    check(config)
    if config.generated is not None:
        raise InputError(
            f"`royalty evaluate {criterion}` trains its generators itself, on images that it prepares; got `generated` "
            f"= {config.generated}. Leave it out"
        )


def written(
    criterion: str,
    config: CriteriaConfig,
    found: StageRecord,
    judged: Sequence[dict[str, str]],
    items: StageRecord | None,
    accuracy: float | None = None,
) -> CriteriaResult:
    """The result, after its tables and pictures were written; sheets of images where `items` are those behind them."""
    record = write_criterion(criterion, config, found, judged, items)
    return CriteriaResult(
        name=config.name,
        criterion=criterion,
        rows=record.outputs["rows"],
        more={name: rows for name, rows in record.outputs["tables"].items() if name != criterion and rows},
        accuracy=accuracy,
        folder=record.outputs["folder"],
        mlflow_run=record.outputs["run"],
    )

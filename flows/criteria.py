"""Judge GMValuator as its paper does: by class, attributes, membership, outliers and time.

A generator is trained on images whose classes are known; what it makes is matched with them; and what stands
behind a generated image is compared with what should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prefect import flow

from royalty.flows.runner import RUNNER
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.tasks.benchmarks.criteria import (
    judge_attributes,
    judge_identity,
    judge_membership,
    judge_outliers,
    time_methods,
    trace,
)
from royalty.tasks.benchmarks.criteria_publication import write_criterion
from royalty.tasks.benchmarks.criterion_stages import Criterion, CriterionName, Judged
from royalty.tasks.benchmarks.generator_stages import Generator
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
from royalty.tasks.items.reading import alike, embed, read
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.stage import TableRow
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
    rows: list[TableRow]
    more: dict[str, list[TableRow]]
    accuracy: float | None
    folder: str
    mlflow_run: str


@dataclass(frozen=True)
class Made:
    """Images of a generator.

    Attributes:
        trained: the generator; None where the images were given.
    """

    generator: str
    images: ItemsOutputs
    trained: Generator | None


@flow(name="evaluate-identity", task_runner=RUNNER)
def identity(config: CriteriaConfig) -> CriteriaResult:
    """C1: the most valuable images for a generated one should have its class."""
    check(config)
    items = drawn(config)
    sets, accuracy = with_classes(config, items, generate(config, items, config.images))
    judged = matched(config, items, sets, calibrate=True)
    judged += [traced(config, items, made) for made in sets if made.generator == "beta-vae" and config.tracin]
    return written("identity", config, judge_identity(judged, items, config), judged, items, accuracy)


@flow(name="evaluate-attributes", task_runner=RUNNER)
def attributes(config: CriteriaConfig) -> CriteriaResult:
    """C2: they should have its attributes, one or two at a time."""
    check(config)
    items = drawn(config, config.attribute_columns)
    sets, accuracy = with_attributes(config, items, generate(config, items, config.images, config.attribute_columns))
    judged = matched(config, items, sets)
    return written("attributes", config, judge_attributes(judged, items, config), judged, items, accuracy)


@flow(name="evaluate-membership", task_runner=RUNNER)
def membership(config: CriteriaConfig) -> CriteriaResult:
    """Table 6: images that a generator was trained on should be worth more than others of their class."""
    refuse_given(config, "membership")
    items = drawn(config)
    halves = halve(items, config)
    judged = matched(config, items, generate(config, halves.outputs, config.valued_by))
    return written("membership", config, judge_membership(judged, halves), judged, None)


@flow(name="evaluate-outliers", task_runner=RUNNER)
def outliers(config: CriteriaConfig) -> CriteriaResult:
    """C3: images with noise, planted before the training, should be worth least."""
    refuse_given(config, "outliers")
    noisy = plant(drawn(config), config)
    judged = matched(config, noisy.outputs, generate(config, noisy.outputs, config.valued_by))
    return written("outliers", config, judge_outliers(judged, noisy), judged, None)


@flow(name="evaluate-efficiency", task_runner=RUNNER)
def efficiency(config: CriteriaConfig) -> CriteriaResult:
    """C4: seconds for a generated image of a beta-VAE, beside VAE-TracIn."""
    refuse_given(config, "efficiency")
    items = drawn(config)
    trained = train_generator(items, "beta-vae", config)
    timed = time_methods(config, items, sample(trained, config.images, config), trained)
    return written("efficiency", config, timed, [], None)


CRITERIA: Mapping[CriterionName, Callable[[CriteriaConfig], CriteriaResult]] = {
    "identity": identity,
    "attributes": attributes,
    "membership": membership,
    "outliers": outliers,
    "efficiency": efficiency,
}


def drawn(config: CriteriaConfig, attributes: Sequence[str] = ()) -> ItemsOutputs:
    """The training images, with attributes where columns of them are named."""
    source = "" if config.train is None else read(config.train, config.size, attributes).outputs.items
    return draw_items(source, config)


def generate(config: CriteriaConfig, items: ItemsOutputs, images: int, attributes: Sequence[str] = ()) -> list[Made]:
    """Images that were given, with attributes if they have them; or those of each generator, trained on the items."""
    if config.generated is not None:
        given = read(config.generated, config.size, attributes, needed=False).outputs
        trained_on, given = alike(items, given)
        if trained_on != items:
            raise InputError(
                "training images are greyscale and generated ones have colour; give training images of three channels"
            )
        return [Made(GIVEN, given, None)]
    made = []
    for generator in config.generators:
        trained = train_generator(items, generator, config)
        made.append(Made(generator, sample(trained, images, config), trained))
    return made


def with_classes(config: CriteriaConfig, items: ItemsOutputs, sets: Sequence[Made]) -> tuple[list[Made], float | None]:
    """Generated images with their classes, and the accuracy of the classifier that found them, where one did."""
    if all(made.images.labelled for made in sets):
        return list(sets), None
    classifier = train_classifier(items, config)
    found = [Made(made.generator, classify(made.images, items, classifier), made.trained) for made in sets]
    return found, classifier.outputs.accuracy


def with_attributes(
    config: CriteriaConfig, items: ItemsOutputs, sets: Sequence[Made]
) -> tuple[list[Made], float | None]:
    """Generated images with their attributes, and the lowest accuracy of the classifiers that found them, if any did.

    Where no columns are named, attributes follow from classes.
    """
    if not config.attribute_columns:
        return with_classes(config, items, sets)
    if all(made.images.attributes for made in sets):
        return list(sets), None
    classifiers = {name: train_classifier(items, config, name) for name in config.attribute_columns}
    found = [Made(made.generator, find_attributes(made.images, classifiers), made.trained) for made in sets]
    return found, min(classifier.outputs.accuracy for classifier in classifiers.values())


def matched(
    config: CriteriaConfig, items: ItemsOutputs, sets: Sequence[Made], *, calibrate: bool = False
) -> list[Judged]:
    """Matches by GMValuator with each re-ranking; to calibrate, without the quality of images too."""
    embed(items, config.encoder, "")
    judged = []
    for made in sets:
        encoder = embed(made.images, config.encoder, "").outputs.encoder
        for rerank in config.rerank:
            sides = items, made.images, encoder
            values = match(*sides, config.matching(rerank)).outputs
            plain = match(*sides, config.matching(rerank, quality="none")).outputs.contributions if calibrate else ""
            judged.append(Judged(made.generator, rerank, made.images.items, values.table, values.contributions, plain))
    return judged


def traced(config: CriteriaConfig, items: ItemsOutputs, made: Made) -> Judged:
    """The contributions by VAE-TracIn to images of a beta-VAE."""
    if made.trained is None:
        raise InputError("VAE-TracIn looks at the checkpoints of a beta-VAE, and these images were given")
    contributions = trace(items, made.images, made.trained, config)
    return Judged(made.generator, "vae-tracin", made.images.items, "", contributions, "")


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
    criterion: CriterionName,
    config: CriteriaConfig,
    result: Criterion,
    judged: Sequence[Judged],
    items: ItemsOutputs | None,
    accuracy: float | None = None,
) -> CriteriaResult:
    """Publish the tables and pictures; with `items`, sheets of generated images beside those behind them, too."""
    published = write_criterion(criterion, config, result, judged, items)
    tables = result.outputs.tables
    return CriteriaResult(
        name=config.name,
        criterion=criterion,
        rows=tables[criterion],
        more={name: rows for name, rows in tables.items() if name != criterion and rows},
        accuracy=accuracy,
        folder=published.folder,
        mlflow_run=published.run,
    )

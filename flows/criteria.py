"""Evaluate GMValuator by the criteria of its paper: class, attributes, membership, outliers and time.

A generator is trained on images with known classes. Its images are matched with the training images, and the most
valuable training images for a generated image are compared with the expected ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from prefect import flow

from royalty.flows.embedding import embed_items
from royalty.flows.runner import RUNNER
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.models.judging.subsets import random_subsets
from royalty.tasks.benchmarks.contributor_stages import PoorJudged
from royalty.tasks.benchmarks.contributors import influence, judge_distances, judge_poor, judge_subsets, of_class, spoil
from royalty.tasks.benchmarks.criteria import (
    judge_attributes,
    judge_causes,
    judge_identity,
    judge_membership,
    judge_outliers,
    remove,
    time_methods,
    trace,
)
from royalty.tasks.benchmarks.criteria_publication import More, write_criterion
from royalty.tasks.benchmarks.criterion_stages import Criterion, CriterionName, Judged
from royalty.tasks.benchmarks.generator_stages import Generator, Planted
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
from royalty.tasks.benchmarks.subset_stages import SubsetsJudged
from royalty.tasks.config.criteria_settings import CriteriaSettings
from royalty.tasks.items.gmvaluator import match
from royalty.tasks.items.reading import alike, read
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.weights import check_weights

WHOLE, RANDOM = "nothing", "random"
"""Names of the removals that others are compared with."""

EARLY = 10
"""An early generator has taken this fraction of its steps: one in ten."""

GIVEN = "given"
"""Name of the generator of images that were supplied by the user."""


@dataclass(frozen=True)
class CriteriaResult:
    """The result of an evaluation by one criterion.

    Attributes:
        rows: rows of the criterion's table, one for each generator and method.
        more: rows of its other tables, by name: for identity, `sensitivity` to fewer generated images, and
            `calibration`, the effect of image quality; for attributes, `distances` of contributors from generated
            images; for outliers, `poor-images`, the effect of image quality if some generated images are poor.
        accuracy: accuracy of the classifier of generated images on held-out training images, the lowest of several;
            None if labels or attributes were supplied.
        folder: contains the tables and pictures.
    """

    name: str
    criterion: str
    rows: list[TableRow]
    more: dict[str, list[TableRow]]
    accuracy: float | None
    folder: str
    mlflow_run: str


@dataclass(frozen=True)
class GeneratedSet:
    """Images of a generator.

    Attributes:
        trained: the generator; None if the images were supplied by the user.
    """

    generator: str
    images: ItemsOutputs
    trained: Generator | None


@flow(name="evaluate-identity", flow_run_name="evaluate identity {config.name}", task_runner=RUNNER)
def identity(config: CriteriaSettings) -> CriteriaResult:
    """C1: the most valuable training images for a generated image should have its class.

    With `label`, generated images of this class are judged; see Fig. 7 of the paper.
    """
    check(config)
    items = drawn(config)
    if config.label:
        of_class(items, config.label)  # its errors precede training
    sets, accuracy = with_classes(config, items, generate(config, items, config.images))
    if config.label:
        sets = [replace(made, images=of_class(made.images, config.label)) for made in sets]
    judged = matched(config, items, sets, calibrate=True)
    judged += [traced(config, items, made) for made in sets if made.generator == "beta-vae" and config.tracin]
    return written("identity", config, judge_identity(judged, items, config), judged, items, accuracy)


@flow(name="evaluate-attributes", flow_run_name="evaluate attributes {config.name}", task_runner=RUNNER)
def attributes(config: CriteriaSettings) -> CriteriaResult:
    """C2: the most valuable training images should share one or two attributes of the generated image."""
    check(config)
    items = drawn(config, config.attribute_columns)
    sets, accuracy = with_attributes(config, items, generate(config, items, config.images, config.attribute_columns))
    judged = matched(config, items, sets)
    result = judge_attributes(judged, items, config)
    return written("attributes", config, result, judged, items, accuracy, judge_distances(result, config))


@flow(name="evaluate-membership", flow_run_name="evaluate membership {config.name}", task_runner=RUNNER)
def membership(config: CriteriaSettings) -> CriteriaResult:
    """Table 6: training images of a generator should have higher values than held-out images of their class."""
    refuse_given(config, "membership")
    items = drawn(config)
    halves = halve(items, config)
    judged = matched(config, items, generate(config, halves.outputs, config.valued_by))
    return written("membership", config, judge_membership(judged, halves), judged, None)


@flow(name="evaluate-outliers", flow_run_name="evaluate outliers {config.name}", task_runner=RUNNER)
def outliers(config: CriteriaSettings) -> CriteriaResult:
    """C3: images to which noise was added before training should have the lowest values.

    With `poor`, some generated images are of low quality, and values with and without the weight of quality are ranked.
    """
    refuse_given(config, "outliers")
    noisy = plant(drawn(config), config)
    check_batches(config, noisy.outputs)
    sets = generate(config, noisy.outputs, config.valued_by)
    judged = matched(config, noisy.outputs, sets)
    judged += [
        influence(noisy.outputs, made.images, made.trained, config)
        for made in sets
        if config.if4gan and made.trained and made.generator == "dcgan"
    ]
    more = tested_quality(config, noisy, sets) if config.poor else None
    return written("outliers", config, judge_outliers(judged, noisy), judged, None, more=more)


@flow(name="evaluate-efficiency", flow_run_name="evaluate efficiency {config.name}", task_runner=RUNNER)
def efficiency(config: CriteriaSettings) -> CriteriaResult:
    """C4: seconds per generated image of a beta-VAE, compared with VAE-TracIn, and of a DCGAN, compared with IF4GAN."""
    refuse_given(config, "efficiency")
    items = drawn(config)
    check_batches(config, items)
    trained = train_generator(items, "beta-vae", config)
    made, gan = sample(trained, config.images, config), None
    if config.if4gan:
        dcgan = train_generator(items, "dcgan", config)
        gan = sample(dcgan, config.images, config), dcgan
    timed = time_methods(config, items, made, trained, gan)
    return written("efficiency", config, timed, [], None)


@flow(name="evaluate-causes", flow_run_name="evaluate causes {config.name}", task_runner=RUNNER)
def causes(config: CriteriaSettings) -> CriteriaResult:
    """Images of a beta-VAE should become less likely without the training images that are valued highest for them.

    The beta-VAE is trained again without these, without as many random ones, and on all, with the same seeds; and for
    `single` images without the items behind each, one image at a time; and on random `subsets`.
    """
    refuse_given(config, "causes")
    items = drawn(config)
    random_subsets(items.count, config.kept, config.subset_seeds)  # its errors precede training
    trained = train_generator(items, "beta-vae", config)
    made = GeneratedSet("beta-vae", sample(trained, config.images, config), trained)
    judged = matched(config, items, [made])
    judged += [traced(config, items, made)] if config.tracin else []
    contributions = {method.method: method.contributions for method in judged} | {RANDOM: ""}
    models: dict[str, list[str]] = {method: [] for method in (WHOLE, *contributions)}
    single: dict[str, list[list[str]]] = {judge.method: [] for judge in judged} if config.single else {}
    for seed in retraining_seeds(config):
        models[WHOLE].append(retrained(items, seed, config))
        for method, table in contributions.items():
            models[method].append(retrained(remove(items, table, seed, config), seed, config))
        for method in single:
            sets = [remove(items, contributions[method], seed, config, image) for image in range(config.single)]
            single[method].append([retrained(rest, seed, config) for rest in sets])
    more = ranked_subsets(config, items, made, judged) if config.subsets else None
    return written("causes", config, judge_causes(made.images, models, single), judged, items, more=more)


CRITERIA: Mapping[CriterionName, Callable[[CriteriaSettings], CriteriaResult]] = {
    "identity": identity,
    "attributes": attributes,
    "membership": membership,
    "outliers": outliers,
    "efficiency": efficiency,
    "causes": causes,
}


def drawn(config: CriteriaSettings, attributes: Sequence[str] = ()) -> ItemsOutputs:
    """The training images, with the attributes of the named columns."""
    source = "" if config.train is None else read(config.train, config.size, attributes).outputs.items
    return draw_items(source, config)


def generate(
    config: CriteriaSettings, items: ItemsOutputs, images: int, attributes: Sequence[str] = ()
) -> list[GeneratedSet]:
    """Images supplied by the user, with attributes if present; or images of each generator, trained on the items."""
    if config.generated is not None:
        trained_on, supplied = alike(items, read(config.generated, config.size, attributes, needed=False).outputs)
        if trained_on != items:
            raise InputError(
                "training and generated images must both be greyscale or both have colour; the training images are "
                "greyscale and the generated ones have colour. Use training images with three channels"
            )
        return [GeneratedSet(GIVEN, supplied, None)]
    made = []
    for generator in config.generators:
        trained = train_generator(items, generator, config)
        made.append(GeneratedSet(generator, sample(trained, images, config), trained))
    return made


def with_classes(
    config: CriteriaSettings, items: ItemsOutputs, sets: Sequence[GeneratedSet]
) -> tuple[list[GeneratedSet], float | None]:
    """Generated images with their classes, and the accuracy of the classifier that assigned them, if one was needed."""
    if all(made.images.labelled for made in sets):
        return list(sets), None
    classifier = train_classifier(items, config)
    classified = [
        GeneratedSet(made.generator, classify(made.images, items, classifier, config), made.trained) for made in sets
    ]
    return classified, classifier.outputs.accuracy


def with_attributes(
    config: CriteriaSettings, items: ItemsOutputs, sets: Sequence[GeneratedSet]
) -> tuple[list[GeneratedSet], float | None]:
    """Generated images with their attributes, and the lowest accuracy of the classifiers that assigned them, if any.

    If no columns are named, attributes are derived from classes.
    """
    if not config.attribute_columns:
        return with_classes(config, items, sets)
    if all(made.images.attributes for made in sets):
        return list(sets), None
    classifiers = {name: train_classifier(items, config, name) for name in config.attribute_columns}
    described = [GeneratedSet(made.generator, find_attributes(made.images, classifiers), made.trained) for made in sets]
    return described, min(classifier.outputs.accuracy for classifier in classifiers.values())


def matched(
    config: CriteriaSettings, items: ItemsOutputs, sets: Sequence[GeneratedSet], *, calibrate: bool = False
) -> list[Judged]:
    """Matches by GMValuator with each re-ranking; with `calibrate`, also without image quality."""
    seen_at = config.matching("none").seen_at(items.shape)
    embed_items(items, config.encoder, "", seen_at)
    judged = []
    for made in sets:
        encoder = embed_items(made.images, config.encoder, "", seen_at).outputs.encoder
        for rerank in config.rerank:
            sides = items, made.images, encoder
            values = match(*sides, config.matching(rerank)).outputs
            plain = match(*sides, config.matching(rerank, quality="none")).outputs.contributions if calibrate else ""
            judged.append(Judged(made.generator, rerank, made.images.items, values.table, values.contributions, plain))
    return judged


def tested_quality(config: CriteriaSettings, noisy: Planted, sets: Sequence[GeneratedSet]) -> PoorJudged:
    """Fig. 9: ranks of noisy images with and without the quality of generated images, of which more and more are poor.

    Poor images have noise, or are those of the same generator after a tenth of its steps.
    """
    items, judged, poor = noisy.outputs, [], dict[str, list[int]]()
    for made in sets:
        early = early_images(config, items, made) if config.poor_by == "early" else None
        spoiled = [spoil(made.images, share, early, config).outputs for share in config.poor]
        poor |= {images.items: images.poor for images in spoiled}
        graded = [made, *(replace(made, images=images) for images in spoiled)]
        judged += matched(config, items, graded, calibrate=True)
    return judge_poor(judged, poor, noisy)


def early_images(config: CriteriaSettings, items: ItemsOutputs, made: GeneratedSet) -> ItemsOutputs:
    """As many images of the same generator, trained for a tenth of the steps."""
    if made.trained is None:
        raise ValueError("images of an early generator need the generator, and these images were given")
    inputs = made.trained.inputs
    steps = config.steps.model_copy(update={inputs.generator.replace("-", "_"): max(1, inputs.steps // EARLY)})
    shorter = config.model_copy(update={"steps": steps, "tracin": None})  # one checkpoint suffices
    return sample(train_generator(items, inputs.generator, shorter), made.images.count, config)


def traced(config: CriteriaSettings, items: ItemsOutputs, made: GeneratedSet, k: int | None = None) -> Judged:
    """The contributions by VAE-TracIn to images of a beta-VAE, of the largest of `ks` items unless `k` is given."""
    if made.trained is None:
        raise InputError("VAE-TracIn looks at the checkpoints of a beta-VAE, and these images were given")
    contributions = trace(items, made.images, made.trained, config, k)
    return Judged(made.generator, "vae-tracin", made.images.items, "", contributions, "")


def retraining_seeds(config: CriteriaSettings) -> range:
    """Seeds with which generators are trained again; generated images are from `config.seed`."""
    return range(config.seed + 1, config.seed + 1 + config.retrainings)


def retrained(items: ItemsOutputs, seed: int, config: CriteriaSettings) -> str:
    """Digest of a beta-VAE that is trained on these items."""
    seeded = config.model_copy(update={"seed": seed, "tracin": None})  # one checkpoint suffices
    return train_generator(items, "beta-vae", seeded).outputs.models[-1]


def ranked_subsets(
    config: CriteriaSettings, items: ItemsOutputs, made: GeneratedSet, judged: Sequence[Judged]
) -> SubsetsJudged:
    """LDS of single images: values should predict how generators of random subsets rate a generated image."""
    removing = config.model_copy(update={"removed": 1 - config.kept})
    subsets = [remove(items, "", seed, removing) for seed in config.subset_seeds]
    models = [[retrained(subset, seed, config) for seed in retraining_seeds(config)] for subset in subsets]
    values = {method.method: method.contributions for method in judged}
    if config.tracin:  # the values of all items: VAE-TracIn ranks them all, where GMValuator values those that are near
        values |= {"vae-tracin": traced(config, items, made, items.count).contributions}
    return judge_subsets(items, made.images, values, models, config)


def check(config: CriteriaSettings) -> None:
    """Check, before training, that `ROYALTY_HOME` can be written and that the required weights are present."""
    check_home(settings())
    check_weights(config.entries)


def check_batches(config: CriteriaSettings, items: ItemsOutputs) -> None:
    """Check, before training, that the training images fill a batch of IF4GAN."""
    if config.if4gan and config.if4gan.batch_size > items.count:
        raise InputError(
            f"`if4gan.batch_size` is at most the number of training images, {items.count}; got "
            f"{config.if4gan.batch_size}. Lower it"
        )


def refuse_given(config: CriteriaSettings, criterion: str) -> None:
    """Check that no generated images are supplied for a criterion that has to train its generators."""
    check(config)
    if config.generated is not None:
        raise InputError(
            f"`royalty evaluate {criterion}` trains its generators on images that it prepares, got `generated` = "
            f"{config.generated}; remove it"
        )


def written(
    criterion: CriterionName,
    config: CriteriaSettings,
    result: Criterion,
    judged: Sequence[Judged],
    items: ItemsOutputs | None,
    accuracy: float | None = None,
    more: More | None = None,
) -> CriteriaResult:
    """Publish the tables and pictures; with `items`, also sheets of generated images and their contributing images."""
    published = write_criterion(criterion, config, result, judged, items, more)
    tables = result.outputs.tables | (more.outputs.tables if more else {})
    return CriteriaResult(
        name=config.name,
        criterion=criterion,
        rows=tables[criterion],
        more={name: rows for name, rows in tables.items() if name != criterion and rows},
        accuracy=accuracy,
        folder=published.folder,
        mlflow_run=published.run,
    )

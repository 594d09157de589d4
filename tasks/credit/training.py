"""Train the classifier, the generator and its pruned copy, and measure the models."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.stores.checkpoints import Checkpoint
from royalty.infra.stores.weights import WeightsStore
from royalty.models.base.errors import InputError
from royalty.models.base.optional import check_installed
from royalty.models.generators.kinds import module_of
from royalty.models.generators.pipelines import autoencoder_in, check_pipeline, side_multiple
from royalty.models.properties.registry import chosen_property
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.generators import LatentConfig, LoRAConfig
from royalty.tasks.config.trained_base import TrainedBase
from royalty.tasks.credit.anchor import Game
from royalty.tasks.credit.stages import (
    CLASSIFIER,
    IMAGE_COUNT,
    MEASURE,
    PIPELINE,
    PRUNE,
    TRAIN,
    TRIAL,
    Classified,
    ClassifierInputs,
    ImageCountInputs,
    Ingested,
    Measured,
    MeasureInputs,
    Pipeline,
    Pruned,
    PruneInputs,
    Trained,
    TrainInputs,
    TrialInputs,
)
from royalty.tasks.stages.running import is_current, run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.credit import classifier_worker, generator_worker, measuring_worker, pipeline_worker
else:
    classifier_worker = Deferred("royalty.tasks.credit.classifier_worker")
    generator_worker = Deferred("royalty.tasks.credit.generator_worker")
    measuring_worker = Deferred("royalty.tasks.credit.measuring_worker")
    pipeline_worker = Deferred("royalty.tasks.credit.pipeline_worker")


def check_property(property_: str) -> None:
    """Check, before any training, that the weights, the package or the function of a property are available.

    Raises:
        InputError: the user's function cannot be imported or called, or a package is not installed.
        WeightsError: weights are missing; the message has the command that fetches them.
    """
    chosen = chosen_property(property_)
    if package := chosen.known.package:
        check_installed(package, package, f"`property: {property_}`")
    weights = WeightsStore(settings().weights_root)
    for name in chosen.weights:
        weights.locate(name)
    if ":" in property_:
        from royalty.models.properties.custom import load_function  # imports torch, which takes seconds

        load_function(property_)


def check_references(property_: str, references: int | None) -> None:
    """Check, before any training, that a property has enough held-out images to compare with.

    Raises:
        InputError: there are fewer.
    """
    least = chosen_property(property_).known.references
    if references is not None and references < least:
        raise InputError(
            f"`property`: {property_} compares with at least {least} held-out images, and there are {references}; "
            "raise `data.held_out.classifier`, or choose another `property`"
        )


def needs_labels(config: CreditConfig) -> bool:
    """Whether the classifier or a class-conditional generator needs labels of the images."""
    return chosen_property(config.property).needs_labels or config.generator.needs_labels


def check_generator(data: Ingested, config: CreditConfig) -> None:
    """Check, before any training, that the pretrained base of a generator can be used.

    Raises:
        InputError: a package is missing, the base is not a pipeline, or it cannot make images of this size.
        WeightsError: the base is missing; the message has the command that fetches it.
    """
    generator = config.generator
    if isinstance(generator, LatentConfig):
        described = autoencoder_in(WeightsStore(settings().weights_root).base(generator.base))
        described.check_side(data.outputs.shape[1], len(generator.block_channels))
    if not isinstance(generator, LoRAConfig):
        return
    for package in ("peft", "transformers"):
        if find_spec(package) is None:
            raise InputError(f"a LoRA needs the package {package}, which is not installed; install royalty[hub]")
    if isinstance(generator.base, TrainedBase):
        return
    folder = WeightsStore(settings().weights_root).base(generator.base)
    check_pipeline(folder)
    multiple, sides = side_multiple(folder), data.outputs.shape[1:]
    if any(side % multiple for side in sides):
        raise InputError(
            f"the autoencoder of {generator.base} takes images whose sides are multiples of {multiple}; got "
            f"{sides[0]} by {sides[1]}. Set `data: {{size: ...}}`"
        )


@task(name="try base model", cache_policy=NO_CACHE)
def try_base(data: Ingested, config: CreditConfig) -> None:
    """Build a generator once if it has a pretrained base or uses several GPUs, so that errors appear early.

    Raises:
        InputError: LoRA targets match no layer, the prompt is too long for the tokenizer, the weights do not fit the
            network that the base describes, or there are fewer GPUs than configured.
    """
    generator = config.generator
    if isinstance(generator, LatentConfig | LoRAConfig) or generator.gpus > 1:
        inputs = TrialInputs(
            train=data.outputs.train,
            kind=generator.kind,
            architecture=generator.architecture(),
            own=generator.trained_base is not None,
            gpus=generator.gpus,
        )
        run_in_worker(TRIAL, inputs, generator_worker.try_generator, also=(module_of(generator.kind),))


@task(name="train classifier", cache_policy=NO_CACHE, tags=["gpu"])
def train_classifier(data: Ingested, config: CreditConfig) -> Classified:
    """Train the classifier behind the utility."""
    steps = config.classifier.steps
    inputs = ClassifierInputs(data.outputs.classifier, data.outputs.validation, steps, config.seed)
    return run_in_worker(CLASSIFIER, inputs, classifier_worker.fit_classifier, title="Train classifier", total=steps)


@task(name="train base model", cache_policy=NO_CACHE, tags=["gpu"])
def train_generator(data: Ingested, config: CreditConfig, pipeline: Pipeline | None) -> Trained:
    """Train the base model on everybody's images.

    Args:
        pipeline: the pipeline under a LoRA, if this run trained it; else None.
    """
    generator = config.generator
    trained_base = {"base": pipeline.outputs.name} if pipeline else {}
    inputs = TrainInputs(
        train=data.outputs.train,
        kind=generator.kind,
        architecture=generator.architecture() | trained_base,
        training=generator.training(),
        seed=config.seed,
        gpus=generator.gpus,
        pipeline=pipeline.outputs.files if pipeline else None,
    )
    base = run_in_worker(
        TRAIN,
        inputs,
        generator_worker.fit_generator,
        also=(module_of(generator.kind),),
        title="Train generator",
        total=generator.steps,
        processes=generator.gpus,
    )
    Checkpoint(settings().root / "checkpoints" / base.key).remove()
    return base


@task(name="prune and recover", cache_policy=NO_CACHE, tags=["gpu"])
def prune(data: Ingested, base: Trained, config: CreditConfig) -> Pruned:
    """Prune the base model, and train it to recover."""
    recovery = config.pruning.recovery_steps
    inputs = PruneInputs(
        train=data.outputs.train,
        base=base.outputs.model,
        pruning=config.pruning.model_dump(exclude={"recovery_steps"}),
        training=config.generator.training() | {"steps": recovery},
        seed=config.seed,
    )
    return run_in_worker(
        PRUNE,
        inputs,
        generator_worker.prune_generator,
        also=(module_of(config.generator.kind),),
        title="Recover pruned model",
        total=recovery,
    )


@task(name="measure base and pruned model", cache_policy=NO_CACHE, tags=["gpu"])
def measure_models(
    base: Trained, pruned: Pruned, data: Ingested, classifier: Classified, config: CreditConfig
) -> Measured:
    """Measure the utility of the models and of real images."""
    models = {"base": base.outputs.model, "broken": pruned.outputs.broken, "pruned": pruned.outputs.model}
    inputs = MeasureInputs(
        models=models,
        validation=data.outputs.validation,
        classifier=classifier.outputs.classifier,
        reference=classifier.inputs.images,
        property=config.property,
        sampling=config.sampling.model_dump(exclude={"draws", "stderr"}),
        seed=config.seed,
    )
    return run_in_worker(
        MEASURE,
        inputs,
        measuring_worker.measure_models,
        also=measuring_modules(config),
        title="Measure models",
        total=len(models),
    )


@task(name="count images", cache_policy=NO_CACHE, tags=["gpu"])
def settle_images(pruned: Pruned, classifier: Classified, config: CreditConfig) -> CreditConfig:
    """Replace a target standard error in the configuration by the number of images that reaches it."""
    if config.sampling.stderr is None:
        return config
    inputs = ImageCountInputs(
        pruned=pruned.outputs.model,
        classifier=classifier.outputs.classifier,
        reference=classifier.inputs.images,
        property=config.property,
        sampling=config.sampling.model_dump(exclude={"draws"}),
        seed=config.seed,
    )
    counted = run_in_worker(
        IMAGE_COUNT,
        inputs,
        measuring_worker.count_images,
        also=measuring_modules(config),
        title="Count images",
        total=1,
    )
    sampling = config.sampling.model_copy(update={"images": counted.outputs.count, "stderr": None})
    return config.model_copy(update={"sampling": sampling})


def measuring_modules(config: CreditConfig) -> tuple[str, ...]:
    """Modules that registries load by name when a model of this configuration is sampled and measured."""
    return (module_of(config.generator.kind), *chosen_property(config.property).modules)


def outdated_models(game: Game) -> tuple[str, ...]:
    """Models of this game that the present code would train differently, by title."""
    kind = module_of(game.base.inputs.kind)
    pipeline = game.pipeline is not None and not is_current(PIPELINE, game.pipeline, pipeline_worker.fit_pipeline)
    changed = {
        "the classifier": not is_current(CLASSIFIER, game.judge, classifier_worker.fit_classifier),
        "the pipeline under the LoRAs": pipeline,
        "the base model": not is_current(TRAIN, game.base, generator_worker.fit_generator, kind),
        "the pruned model": not is_current(PRUNE, game.pruned, generator_worker.prune_generator, kind),
    }
    return tuple(title for title, outdated in changed.items() if outdated)

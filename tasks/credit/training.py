"""Train the classifier behind the utility, the generator, and its pruned copy; measure what they make."""

from __future__ import annotations

from importlib.util import find_spec

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.checkpoints import Checkpoint
from royalty.infra.stores.keys import code_version, digest_of
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.stores.weights import WeightsStore
from royalty.models.base.errors import InputError
from royalty.models.generators.kinds import module_of
from royalty.models.generators.pipelines import autoencoder_in, check_pipeline, side_multiple
from royalty.models.properties.registry import chosen_property
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.generators import LatentConfig, LoRAConfig, TrainedBase
from royalty.tasks.stages.stage import WORKER, in_worker, run_stage


def check_property(property_: str) -> None:
    """Refuse, before anything is trained, a property whose weights or function are not here.

    Raises:
        InputError: the user's function cannot be imported or called.
        WeightsError: weights are missing; the message says how to fetch them.
    """
    chosen = chosen_property(property_)
    weights = WeightsStore(settings().weights_root)
    for name in chosen.weights:
        weights.locate(name)
    if ":" in property_:
        from royalty.models.properties.custom import load_function  # which imports torch, as every property does

        load_function(property_)


def needs_labels(config: CreditConfig) -> bool:
    """Whether the images' own labels train a classifier that judges, or a generator of classes."""
    return chosen_property(config.property).needs_labels or config.generator.needs_labels


def check_generator(data: StageRecord, config: CreditConfig) -> None:
    """Refuse, before anything is trained, a base that cannot be adapted.

    Raises:
        InputError: a package is missing, or the base is no pipeline or cannot make images of this size.
        WeightsError: the base is not here; the message says how to fetch it.
    """
    generator = config.generator
    if isinstance(generator, LatentConfig):
        described = autoencoder_in(WeightsStore(settings().weights_root).base(generator.base))
        described.check_side(data.outputs["shape"][1], len(generator.block_channels))
    if not isinstance(generator, LoRAConfig):
        return
    for package in ("peft", "transformers"):
        if find_spec(package) is None:
            raise InputError(f"a LoRA takes the package {package}, which is missing; install royalty[hub]")
    if isinstance(generator.base, TrainedBase):
        return
    folder = WeightsStore(settings().weights_root).base(generator.base)
    check_pipeline(folder)
    multiple, sides = side_multiple(folder), data.outputs["shape"][1:]
    if any(side % multiple for side in sides):
        raise InputError(
            f"the autoencoder of {generator.base} takes images whose sides are multiples of {multiple}; got "
            f"{sides[0]} by {sides[1]}. Set `data: {{size: ...}}`"
        )


@task(cache_policy=NO_CACHE)
def try_base(data: StageRecord, config: CreditConfig) -> None:
    """Build a generator that stands on what others trained, or takes several GPUs: what that refuses, is refused early.

    Raises:
        InputError: LoRA targets that match no layer, a prompt too long for the tokenizer, weights that do not fit the
            net that the base describes, or more GPUs than there are.
    """
    generator = config.generator
    if isinstance(generator, LatentConfig | LoRAConfig) or generator.gpus > 1:
        inputs = {
            "train": data.outputs["train"],
            "kind": generator.kind,
            "architecture": generator.architecture(),
            "own": generator.trained_base is not None,
            "gpus": generator.gpus,
        }
        work = in_worker("", 0, f"{WORKER}.try_generator", *inputs.values())
        run_stage("try-base", inputs=inputs, modules=(WORKER, module_of(generator.kind)), compute=work)


@task(cache_policy=NO_CACHE, tags=["gpu"])
def train_classifier(data: StageRecord, config: CreditConfig) -> StageRecord:
    """Digest of the classifier, and its accuracy on validation images."""
    steps = config.classifier.steps
    inputs = {
        "images": data.outputs["classifier"],
        "validation": data.outputs["validation"],
        "steps": steps,
        "seed": config.seed,
    }
    work = in_worker("Train classifier", steps, f"{WORKER}.fit_classifier", *inputs.values())
    return run_stage("classifier", inputs=inputs, modules=(WORKER,), compute=work)


@task(cache_policy=NO_CACHE, tags=["gpu"])
def train_generator(data: StageRecord, config: CreditConfig, pipeline: StageRecord | None) -> StageRecord:
    """Digest of the base model, and its size.

    Args:
        pipeline: what a LoRA is put on, if this run trained it.
    """
    on = {"base": pipeline.outputs["name"]} if pipeline else {}
    inputs = {
        "train": data.outputs["train"],
        "kind": config.generator.kind,
        "architecture": config.generator.architecture() | on,
        "training": config.generator.training(),
        "seed": config.seed,
        "gpus": config.generator.gpus,
    }
    modules = WORKER, module_of(config.generator.kind)
    checkpoint = digest_of({"inputs": inputs, "code": code_version(*modules)})
    given = *inputs.values(), checkpoint
    under = {"pipeline": pipeline.outputs["files"]} if pipeline else {}
    steps, gpus = config.generator.steps, config.generator.gpus
    work = in_worker("Train generator", steps, f"{WORKER}.fit_generator", *given, processes=gpus)
    record = run_stage("train", inputs=inputs | under, modules=modules, compute=work)
    Checkpoint(settings().root / "checkpoints" / checkpoint).remove()
    return record


@task(cache_policy=NO_CACHE, tags=["gpu"])
def prune(data: StageRecord, base: StageRecord, config: CreditConfig) -> StageRecord:
    """Digest of the pruned model before and after recovery, and its size."""
    recovery = config.pruning.recovery_steps
    inputs = {
        "train": data.outputs["train"],
        "base": base.outputs["model"],
        "pruning": config.pruning.model_dump(exclude={"recovery_steps"}),
        "training": config.generator.training() | {"steps": recovery},
        "seed": config.seed,
    }
    work = in_worker("Recover pruned model", recovery, f"{WORKER}.prune_generator", *inputs.values())
    return run_stage("prune", inputs=inputs, modules=(WORKER, module_of(config.generator.kind)), compute=work)


@task(cache_policy=NO_CACHE, tags=["gpu"])
def measure_models(
    base: StageRecord, pruned: StageRecord, data: StageRecord, classifier: StageRecord, config: CreditConfig
) -> StageRecord:
    """Utility of the models and of real images, and digests of images that the models make."""
    models = {"base": base.outputs["model"], "broken": pruned.outputs["broken"], "pruned": pruned.outputs["model"]}
    inputs = {
        "models": models,
        "validation": data.outputs["validation"],
        "classifier": classifier.outputs["classifier"],
        "reference": classifier.inputs["images"],
        "property": config.property,
        "sampling": config.sampling.model_dump(exclude={"draws", "stderr"}),
        "seed": config.seed,
    }
    work = in_worker("Measure models", len(models), f"{WORKER}.measure_models", *inputs.values())
    modules = WORKER, module_of(config.generator.kind), *chosen_property(config.property).modules
    return run_stage("measure", inputs=inputs, modules=modules, compute=work)


@task(cache_policy=NO_CACHE, tags=["gpu"])
def settle_images(pruned: StageRecord, classifier: StageRecord, config: CreditConfig) -> CreditConfig:
    """The configuration with the number of images that gives the standard error it asks for, if it asks for one."""
    if config.sampling.stderr is None:
        return config
    inputs = {
        "pruned": pruned.outputs["model"],
        "classifier": classifier.outputs["classifier"],
        "reference": classifier.inputs["images"],
        "property": config.property,
        "sampling": config.sampling.model_dump(exclude={"draws"}),
        "seed": config.seed,
    }
    work = in_worker("Count images", 1, f"{WORKER}.count_images", *inputs.values())
    modules = WORKER, module_of(config.generator.kind), *chosen_property(config.property).modules
    found = run_stage("images", inputs=inputs, modules=modules, compute=work)
    counted = config.sampling.model_copy(update={"images": found.outputs["count"], "stderr": None})
    return config.model_copy(update={"sampling": counted})

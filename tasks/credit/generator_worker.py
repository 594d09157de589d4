"""Worker code: train and prune the generator. Imports no orchestration."""

from __future__ import annotations

import math
import time

from royalty.infra.stores.checkpoints import EVERY, Checkpoint
from royalty.models.generators.denoiser import Denoiser
from royalty.models.generators.generator import Generator
from royalty.models.generators.registry import build_generator, outline_generator
from royalty.models.generators.together import check_gpus, is_first, together
from royalty.tasks.credit.snapshots import Snapshots
from royalty.tasks.credit.stages import (
    PruneInputs,
    PruneOutputs,
    TrainInputs,
    TrainOutputs,
    TrialInputs,
    TrialOutputs,
)
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.loading import load_images, load_model, resources, thinned


def try_generator(inputs: TrialInputs, context: StageContext) -> TrialOutputs:
    """Build a generator for these images and discard it; only an outline if its base is trained later (`own`)."""
    check_gpus(inputs.gpus)
    shown = load_images(context, inputs.train).shown()
    if inputs.own:
        outline_generator(inputs.kind, shown.images.shape[1:], inputs.architecture)
    else:
        build_generator(inputs.kind, shown, inputs.architecture, seed=0, resources=resources(context))
    return TrialOutputs()


def fit_generator(inputs: TrainInputs, context: StageContext) -> TrainOutputs:
    """Train the generator on everybody's images; an interrupted training continues from its checkpoint.

    If `gpus` is more than 1, that many processes call this function at once and train one model together. All end with
    the same model; the first process writes the checkpoints.
    """
    check_gpus(inputs.gpus)
    with together(inputs.gpus):
        shown = load_images(context, inputs.train).shown()
        start = time.perf_counter()
        model = build_generator(inputs.kind, shown, inputs.architecture, seed=inputs.seed, resources=resources(context))
        folder = context.checkpoints / context.key
        keeper = Checkpoint(folder, EVERY if is_first() else math.inf)
        snapshots = Snapshots(model, folder, inputs.training["steps"], inputs.seed)
        # Only these models are always in the mode for sampling; several processes would each have to wait.
        watched = isinstance(model, Denoiser) and inputs.gpus == 1

        def advance(steps: int) -> None:
            if watched:
                snapshots(steps)
            context.advance(steps)

        losses = model.fit(**vars(shown), **inputs.training, seed=inputs.seed, progress=advance, keeper=keeper)
        digest, parameters, multiply_adds = _stored(context, model)
        seconds = time.perf_counter() - start
        samples = snapshots.stored(context.artifacts)
        return TrainOutputs(digest, parameters, multiply_adds, thinned(losses), seconds, samples)


def prune_generator(inputs: PruneInputs, context: StageContext) -> PruneOutputs:
    """Prune the base model, then train it on everybody's images to recover."""
    shown = load_images(context, inputs.train).shown()
    model = load_model(context, inputs.base)
    start = time.perf_counter()
    pruned = model.prune(images=shown.images, labels=shown.labels, **inputs.pruning, seed=inputs.seed)
    broken = context.artifacts.put(model.to_bytes())
    losses = model.fit(**vars(shown), **inputs.training, seed=inputs.seed, progress=context.advance)
    digest, parameters, multiply_adds = _stored(context, model)
    return PruneOutputs(
        model=digest,
        parameters=parameters,
        multiply_adds=multiply_adds,
        broken=broken,
        removed=float(pruned.removed),
        busy_seconds=time.perf_counter() - start,
        losses=thinned(losses),
    )


def _stored(context: StageContext, model: Generator) -> tuple[str, int, int]:
    """Store a model; returns its digest, parameters and multiply-adds."""
    size = model.size()
    return context.artifacts.put(model.to_bytes()), int(size.parameters), int(size.multiply_adds)

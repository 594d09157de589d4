"""Worker code: train a small Stable Diffusion pipeline on captioned digits. Imports no orchestration."""

from __future__ import annotations

import time

from royalty.infra.stores.checkpoints import Checkpoint
from royalty.infra.stores.weights import TRAINED
from royalty.models.data.mnist import FRAMED, framed_digits
from royalty.models.generators.pipeline_training import train_autoencoder, train_denoiser
from royalty.models.generators.small_pipeline import Widths, build_pipeline
from royalty.tasks.credit.stages import PipelineInputs, PipelineOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.loading import thinned


def fit_pipeline(inputs: PipelineInputs, context: StageContext) -> PipelineOutputs:
    """Train the autoencoder, then the text encoder and U-Net, and store the pipeline in the weights folder.

    An interrupted training continues from its checkpoint.
    """
    start, base = time.perf_counter(), inputs.base
    images, _, captions = framed_digits(base["digits"])
    pipeline = build_pipeline(Widths.of(base), side=FRAMED, seed=inputs.seed)
    pipeline.to(best_device())
    folder = context.checkpoints / context.key
    common = {"batch_size": base["batch_size"], "seed": inputs.seed, "progress": context.advance}
    reconstruction = train_autoencoder(
        pipeline.vae,
        images,
        steps=base["autoencoder_steps"],
        learning_rate=base["autoencoder_rate"],
        keeper=Checkpoint(folder / "autoencoder"),
        **common,
    )
    losses = train_denoiser(
        pipeline,
        images,
        captions,
        steps=base["denoiser_steps"],
        learning_rate=base["denoiser_rate"],
        keeper=Checkpoint(folder / "denoiser"),
        **common,
    )
    name = f"{TRAINED}{context.key[:16]}"
    context.weights.keep(name, pipeline.save_pretrained)
    parts = pipeline.vae, pipeline.unet, pipeline.text_encoder
    return PipelineOutputs(
        name=name,
        files=context.artifacts.put(context.weights.record(name)),
        parameters=sum(parameter.numel() for part in parts for parameter in part.parameters()),
        reconstruction=thinned(reconstruction),
        losses=thinned(losses),
        busy_seconds=time.perf_counter() - start,
    )

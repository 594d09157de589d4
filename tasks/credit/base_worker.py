"""What runs in a process of its own: the training of a small Stable Diffusion pipeline on captioned digits."""

from __future__ import annotations

import time
from typing import Any

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.stores.checkpoints import Checkpoint
from royalty.infra.stores.weights import WeightsStore
from royalty.infra.workspace import open_workspace
from royalty.models.data.mnist import FRAMED, framed_digits
from royalty.models.generators.pipeline_training import train_autoencoder, train_denoiser
from royalty.models.generators.small_pipeline import Widths, build_pipeline
from royalty.tasks.credit.training_worker import thinned
from royalty.tasks.stages.device import best_device


def fit_base(
    name: str, base: dict[str, Any], seed: int, checkpoint: str, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Train the autoencoder, then text encoder and U-Net; keep the pipeline among the weights, under its name.

    A training that was killed goes on from its checkpoint.
    """
    space = open_workspace(settings)
    start = time.perf_counter()
    images, _, captions = framed_digits(base["digits"])
    pipeline = build_pipeline(Widths.of(base), side=FRAMED, seed=seed)
    pipeline.to(best_device())
    folder = space.root / "checkpoints" / checkpoint
    common = {"batch_size": base["batch_size"], "seed": seed, "progress": advance}
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
    weights = WeightsStore(settings.weights_root)
    weights.keep(name, pipeline.save_pretrained)
    trained = pipeline.vae, pipeline.unet, pipeline.text_encoder
    return {
        "name": name,
        "files": space.artifacts.put(weights.record(name)),
        "parameters": sum(parameter.numel() for part in trained for parameter in part.parameters()),
        "reconstruction": thinned(reconstruction),
        "losses": thinned(losses),
        "busy_seconds": time.perf_counter() - start,
    }

"""Worker code: score training images by VAE-TracIn for images of a beta-VAE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.judging.sets import images_of
from royalty.models.valuation.vae_tracin import VAECheckpoint, vae_tracin_scores
from royalty.tasks.benchmarks.criterion_stages import TracInInputs, TracInOutputs
from royalty.tasks.benchmarks.generator_stages import OPTIMIZATION
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def trace(inputs: TracInInputs, context: StageContext) -> TracInOutputs:
    """Store the k items of highest VAE-TracIn score for each generated image."""
    torch.set_num_threads(cores())
    images, generated = (images_of(load_items(context.artifacts, digest)) for digest in (inputs.items, inputs.made))
    scores = vae_tracin_scores(
        load_checkpoints(context.artifacts, inputs.models),
        images,
        generated,
        draws=inputs.tracin.draws,
        seed=inputs.seed,
        progress=context.advance,
    )
    kept = min(inputs.k, scores.shape[1])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :kept]  # (generated, k)
    table = pd.DataFrame(
        {
            "generated": np.repeat(np.arange(len(generated)), kept),
            "item": best.ravel(),
            "score": np.take_along_axis(scores, best, axis=1).ravel(),
        }
    )
    return TracInOutputs(context.artifacts.put(table.to_parquet(index=False)))


def load_checkpoints(artifacts: ArtifactStore, models: Sequence[str]) -> list[VAECheckpoint]:
    """Load the checkpoints of a beta-VAE, each with its learning rate."""
    rate, device = OPTIMIZATION["beta-vae"].learning_rate, torch.device(best_device())
    return [(rate, BetaVAE.from_bytes(artifacts.get(model)).to(device)) for model in models]

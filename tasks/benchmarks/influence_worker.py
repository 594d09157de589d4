"""Worker code: value training images by IF4GAN for what a DCGAN generates."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.models.generators.dcgan import DCGAN
from royalty.models.judging.sets import images_of
from royalty.models.valuation.gan_influence import gan_influence, log_likelihood
from royalty.tasks.benchmarks.contributor_stages import InfluenceInputs, InfluenceOutputs
from royalty.tasks.config.if4gan import IF4GANConfig
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device

REFERENCE = 500
"""Training images under which the log-likelihood of the generated ones is taken."""


def trace_gan(inputs: InfluenceInputs, context: StageContext) -> InfluenceOutputs:
    """Store the value of each training image."""
    torch.set_num_threads(cores())
    began = time.process_time()
    net = DCGAN.from_bytes(context.artifacts.get(inputs.model)).to(torch.device(best_device()))
    images = images_of(load_items(context.artifacts, inputs.items))
    values = gan_values(net, images, inputs.images, inputs.settings, seed=inputs.seed, progress=context.advance)
    table = context.artifacts.put(pd.DataFrame({"value": values}).to_parquet(index=False))
    return InfluenceOutputs(table, time.process_time() - began)


def gan_values(
    net: DCGAN,
    images: np.ndarray,
    count: int,
    settings: IF4GANConfig,
    *,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The value of each training image for `count` images that the DCGAN generates: float64, `(items,)`.

    The score is the mean log-likelihood of a sample of training images under Gaussian kernels at the generated ones,
    whose width fits the nearest of these best: its square is the mean squared distance to the nearest per dimension.
    """
    trained_on = net.framed(images)
    draws = torch.Generator().manual_seed(seed)
    reference = trained_on[torch.randperm(len(trained_on), generator=draws)[:REFERENCE]]
    codes = torch.randn((count, net.codes), generator=draws).to(trained_on.device)
    with torch.inference_mode():
        nearest = torch.cdist(reference.flatten(1), net.decoder(codes).flatten(1)).amin(dim=1)
    width = float((nearest.square().mean() / reference[0].numel()).sqrt())
    return gan_influence(
        net.decoder,
        net.discriminator,
        trained_on,
        codes,
        log_likelihood(reference, width),
        **settings.model_dump(),
        seed=seed,
        progress=progress,
    )

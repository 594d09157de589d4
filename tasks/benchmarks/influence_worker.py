"""Worker code: value training images by IF4GAN for what a DCGAN generates."""

from __future__ import annotations

import time

import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.models.generators.dcgan import DCGAN
from royalty.models.judging.sets import images_of
from royalty.models.valuation.gan_influence import gan_influence, log_likelihood
from royalty.tasks.benchmarks.contributor_stages import InfluenceInputs, InfluenceOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device

REFERENCE = 500
"""Training images under which the log-likelihood of the generated ones is taken."""


def trace_gan(inputs: InfluenceInputs, context: StageContext) -> InfluenceOutputs:
    """Store the value of each training image.

    The score is the mean log-likelihood of a sample of training images under Gaussian kernels at the generated ones,
    whose width fits the nearest of these best: its square is the mean squared distance to the nearest per dimension.
    """
    torch.set_num_threads(cores())
    began, device = time.process_time(), torch.device(best_device())
    net = DCGAN.from_bytes(context.artifacts.get(inputs.model)).to(device)
    images = net.framed(images_of(load_items(context.artifacts, inputs.items)))
    draws = torch.Generator().manual_seed(inputs.seed)
    reference = images[torch.randperm(len(images), generator=draws)[:REFERENCE]]
    codes = torch.randn((inputs.images, net.codes), generator=draws).to(device)
    with torch.inference_mode():
        nearest = torch.cdist(reference.flatten(1), net.decoder(codes).flatten(1)).amin(dim=1)
    width = float((nearest.square().mean() / reference[0].numel()).sqrt())
    values = gan_influence(
        net.decoder,
        net.discriminator,
        images,
        codes,
        log_likelihood(reference, width),
        **inputs.settings.model_dump(),
        seed=inputs.seed,
        progress=context.advance,
    )
    table = context.artifacts.put(pd.DataFrame({"value": values}).to_parquet(index=False))
    return InfluenceOutputs(table, time.process_time() - began)

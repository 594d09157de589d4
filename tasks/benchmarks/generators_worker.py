"""Worker code: train and sample generators."""

from __future__ import annotations

import time

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.models.data.labelled import Items
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.generators.dcgan import DCGAN
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.unets import Architecture
from royalty.models.judging.sets import images_of, labels_of
from royalty.tasks.benchmarks.generator_stages import (
    OPTIMIZATION,
    GeneratorInputs,
    GeneratorOutputs,
    SampleInputs,
)
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.items.stored_items import keep_items, load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device

BLOCK_CHANNELS, SAMPLING_STEPS, EMA_DECAY = (16, 32, 32), 10, 0.99
"""Settings of the DDPM."""

CONDITIONAL_CHANNELS, PATCH, GUIDANCE, LONGER_DECAY = (32, 64), 2, 2.0, 0.999
"""Settings of the DDPM that is told the class."""


def fit(inputs: GeneratorInputs, context: StageContext) -> GeneratorOutputs:
    """Train a generator, and store its checkpoints."""
    torch.set_num_threads(cores())
    began = time.perf_counter()
    items = load_items(context.artifacts, inputs.items)
    images = images_of(items)
    _, channels, side, width = images.shape
    shape, device, seed = (channels, side, width), best_device(), inputs.seed
    options = {**OPTIMIZATION[inputs.generator]._asdict(), "progress": context.advance}
    model: DDPM | BetaVAE | DCGAN
    checkpoints = []
    if inputs.generator == "ddpm":
        model = DDPM.build(Architecture(side, channels, BLOCK_CHANNELS, 1), seed=seed).to(device)
        model.fit(images, steps=inputs.steps, ema_decay=EMA_DECAY, seed=seed, **options)
        checkpoints = [context.artifacts.put(model.to_bytes())]
    elif inputs.generator == "conditional-ddpm":
        names, labels = np.unique(labels_of(items), return_inverse=True)
        architecture = Architecture(
            side, channels, CONDITIONAL_CHANNELS, 1, classes=len(names), guidance=GUIDANCE, patch=PATCH
        )
        model = DDPM.build(architecture, seed=seed).to(device)
        model.fit(images, labels=labels, steps=inputs.steps, ema_decay=LONGER_DECAY, seed=seed, **options)
        checkpoints = [context.artifacts.put(model.to_bytes())]
    elif inputs.generator == "dcgan":
        model = DCGAN(shape, seed=seed).to(device)
        model.fit(images, steps=inputs.steps, seed=seed, **options)
        checkpoints = [context.artifacts.put(model.to_bytes())]
    else:
        model = BetaVAE(shape, seed=seed).to(device)
        ends = np.linspace(0, inputs.steps, inputs.parts + 1).astype(int)
        for part, steps in enumerate(np.diff(ends).tolist()):
            model.fit(images, steps=steps, seed=seed + part, **options)
            checkpoints.append(context.artifacts.put(model.to_bytes()))
    return GeneratorOutputs(checkpoints, time.perf_counter() - began)


def sample(inputs: SampleInputs, context: StageContext) -> ItemsOutputs:
    """Generate images, and store them."""
    torch.set_num_threads(cores())
    payload, device = context.artifacts.get(inputs.model), best_device()
    if inputs.generator in ("ddpm", "conditional-ddpm"):
        denoiser = DDPM.from_bytes(payload).to(device)
        made = denoiser.sample(inputs.images, seed=inputs.seed, steps=SAMPLING_STEPS, progress=context.advance)
    else:
        net = (BetaVAE if inputs.generator == "beta-vae" else DCGAN).from_bytes(payload).to(device)
        made = net.sample(inputs.images, seed=inputs.seed)
        context.advance(inputs.images)
    return keep_items(context.artifacts, Items.of_images(made))

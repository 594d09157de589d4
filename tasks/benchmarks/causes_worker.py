"""Worker code: train beta-VAEs again without the most valuable items, and compare what that does to their images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.judging.causes import OwnEffect, most_valuable, own_effect, removal_effect
from royalty.models.judging.sets import images_of, select_items
from royalty.models.judging.subsets import random_rows, removed_count
from royalty.tasks.benchmarks.criterion_stages import CausesInputs, CausesOutputs, RemoveInputs
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.items.stored_items import keep_items, load_contributions, load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.stage import TableRow

DRAWS = 8
"""Draws of the code of an image over which its loss is averaged; the same for all generators."""


def remove(inputs: RemoveInputs, context: StageContext) -> ItemsOutputs:
    """Store all items except those of highest value, or except random ones."""
    whole = load_items(context.artifacts, inputs.items)
    removed = removed_count(len(whole), inputs.share)
    if inputs.contributions:
        table = load_contributions(context.artifacts, inputs.contributions)
    if inputs.image is not None:
        rows = table["item"][table["generated"] == inputs.image].to_numpy()
    elif inputs.contributions:
        rows = most_valuable(table["item"].to_numpy(), table["score"].to_numpy(), len(whole), removed)
    else:
        rows = random_rows(len(whole), removed, inputs.seed)
    return keep_items(context.artifacts, select_items(whole, np.delete(np.arange(len(whole)), rows)))


def judge_causes(inputs: CausesInputs, context: StageContext) -> CausesOutputs:
    """Compare the removals of each method with random ones."""
    torch.set_num_threads(cores())
    made = images_of(load_items(context.artifacts, inputs.made))
    losses = {method: losses_of(context.artifacts, models, made) for method, models in inputs.models.items()}
    rows: list[TableRow] = []
    for method, found in losses.items():
        if method not in (inputs.whole, inputs.random):
            effect = removal_effect(found, losses[inputs.random], losses[inputs.whole])
            rows.append({"generator": "beta-vae", "method": method, "seeds": len(found), **vars(effect)})
    seeds = len(losses[inputs.random])
    chance = float((losses[inputs.random] - losses[inputs.whole]).mean())
    rows.append({"generator": "beta-vae", "method": inputs.random, "seeds": seeds, "effect": chance})
    return CausesOutputs(rows, *_single(context.artifacts, inputs, made))


def _single(artifacts: ArtifactStore, inputs: CausesInputs, made: np.ndarray) -> tuple[list[TableRow], list[TableRow]]:
    """Effects of the removal of the items behind single images: by method, and by method and image."""
    found: dict[str, OwnEffect] = {}
    for method, seeds in inputs.single.items():
        images = len(seeds[0])
        found[method] = own_effect(np.stack([losses_of(artifacts, models, made[:images]) for models in seeds]))
    shown = ("effect", "stderr", "p", "images")
    rows: list[TableRow] = [
        {"generator": "beta-vae", "method": method, "tried": len(own.effects)}
        | {"seeds": len(inputs.single[method])}
        | {name: getattr(own, name) for name in shown}
        for method, own in found.items()
    ]
    effects: list[TableRow] = [
        {"generator": "beta-vae", "method": method, "image": image, "effect": float(effect)}
        for method, own in found.items()
        for image, effect in enumerate(own.effects)
    ]
    return rows, effects


@torch.inference_mode()
def losses_of(artifacts: ArtifactStore, models: Sequence[str], made: np.ndarray) -> np.ndarray:
    """Losses of generated images by each model, `(models, images)`."""
    found = np.empty((len(models), len(made)))
    for row, digest in enumerate(models):
        net = BetaVAE.from_bytes(artifacts.get(digest)).to(best_device())
        pictures = net.framed(made)
        generator = torch.Generator().manual_seed(0)
        draws = torch.randn((DRAWS, len(made), net.codes), generator=generator).to(pictures.device)
        found[row] = torch.stack([net(pictures, noise) for noise in draws]).mean(dim=0).cpu().numpy()
    return found

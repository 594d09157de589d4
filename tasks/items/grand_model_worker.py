"""Worker code: generate images by everybody's model, and match them. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from royalty.infra.settings import cores
from royalty.models.data.labelled import Items
from royalty.models.data.stored import open_set
from royalty.tasks.credit.listed import columns_of
from royalty.tasks.items.embedding_stages import EmbedInputs
from royalty.tasks.items.embedding_worker import embed
from royalty.tasks.items.gmvaluator_worker import match, unseen
from royalty.tasks.items.stages import MatchInputs, MatchOutputs
from royalty.tasks.items.stored_items import ASKED, keep_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.loading import load_sampler


def match_model(inputs: MatchInputs, context: StageContext) -> MatchOutputs:
    """Generate images by a model, and value its training images by them."""
    if inputs.model is None or inputs.images is None or inputs.sampling is None or inputs.seed is None:
        raise ValueError(
            "generating images needs the digest of a model, a number, a sampling and a seed; one of them is missing"
        )
    torch.set_num_threads(cores())
    began, artifacts = time.perf_counter(), context.artifacts
    data = open_set(artifacts.verified(inputs.train))
    model = load_sampler(context, inputs.model)
    made = model.sample(inputs.images, seed=inputs.seed, **inputs.sampling)
    known = Items.of_set(data)
    if inputs.listed:
        columns = columns_of(artifacts, inputs.listed, data.ids)
        names, sources = columns.pop("file_name"), columns.pop("source")
        columns.pop("label", None)  # the set has it
        known = replace(known, file_names=names if any(names) else None, sources=sources, described=columns)
    pictured = Items.of_images(made)
    if asked := model.asked(data.label_names):
        pictured = replace(pictured, described={ASKED: tuple(asked[place % len(asked)] for place in range(len(made)))})
    sides = [known, pictured]
    if inputs.held_out:
        sides.append(Items.of_set(open_set(artifacts.verified(inputs.held_out))))
    train, generated, *held_out = (keep_items(artifacts, items).items for items in sides)
    quiet = replace(context, advance=unseen)
    seen_at = inputs.matching.seen_at(data.images.shape[1:])
    embeddings = (EmbedInputs(side, inputs.matching.encoder, "", seen_at) for side in (train, generated, *held_out))
    keys = [embed(side, quiet).encoder for side in embeddings]
    given = MatchInputs(train, inputs.matching, generated=generated, encoder=keys[0], held_out="".join(held_out))
    matched = match(given, context)
    return replace(matched, sides={"train": train, "generated": generated}, busy_seconds=time.perf_counter() - began)

"""Worker code: differences of the values of pairs of items under transport without entropy."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError, Refusals
from royalty.models.valuation.lava import exact_difference
from royalty.tasks.config.values import ValueSettings
from royalty.tasks.items.features import represented
from royalty.tasks.items.pair_stages import PairsInputs, PairsOutputs
from royalty.tasks.items.sides import OpenSides, open_sides
from royalty.tasks.stages.context import StageContext

EPSILON = 0.01
"""Largest weight of the entropy, which must be small enough to tell where exact transport sends an item."""


def compare(inputs: PairsInputs, context: StageContext) -> PairsOutputs:
    """Compare pairs of items; see `royalty.models.valuation.lava.exact_difference`."""
    torch.set_num_threads(cores())
    began, settings = time.perf_counter(), ValueSettings.model_validate(inputs.config)
    sides = open_sides(context.artifacts, inputs.sides, unseen_label=settings.unseen_label)
    first, second = positions_of(sides, inputs.pairs)
    train, val = represented(context.embeddings, sides, settings.encoding.representation, inputs.sides.encoder)
    valuing = settings.valuing
    found = exact_difference(
        train,
        sides.train_labels,
        val,
        sides.val_labels,
        first,
        second,
        label_weight=valuing.label_weight,
        feature_weight=valuing.feature_weight,
        epsilon=min(valuing.epsilon, EPSILON),
        tolerance=valuing.tolerance,
        max_iterations=valuing.max_iterations,
    )
    together = ~np.isnan(found.difference)
    titles = sides.val.file_names or sides.val.ids
    table = pd.DataFrame(inputs.pairs, columns=["first", "second"]).assign(
        difference=found.difference,
        target=[titles[row] if shared else "" for row, shared in zip(found.target, together, strict=True)],
        shared=found.shared,
    )
    context.advance(1)
    digest = context.artifacts.put(table.to_parquet(index=False))
    return PairsOutputs(digest, int(together.sum()), time.perf_counter() - began)


def positions_of(sides: OpenSides, pairs: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Positions of both items of each pair among the items that the method values, `(pairs,)` each.

    Raises:
        InputError: names that no training item has, or several, or one that validation has no label for.
    """
    rows: dict[str, set[int]] = defaultdict(set)
    for names in (sides.train.ids, sides.train.file_names or ()):
        for row, name in enumerate(names):
            rows[name].add(row)
    refused, known = Refusals(), np.cumsum(sides.known) - 1
    for name in dict.fromkeys(name for pair in pairs for name in pair):
        with refused.collect():
            found = rows.get(name, set())
            if len(found) != 1:
                raise InputError(
                    f"a pair consists of IDs or file names of training items, and {len(found)} items have {name!r}. "
                    "Give the ID or file name of one"
                )
            if not sides.known[min(found)]:
                raise InputError(f"validation has no item of the label of {name!r}; leave its pairs out")
    refused.check("items of `--pairs` cannot be compared")
    first, second = (np.array([known[min(rows[pair[side]])] for pair in pairs]) for side in (0, 1))
    return first, second

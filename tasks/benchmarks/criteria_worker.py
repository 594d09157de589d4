"""What runs in a process of its own: values of items are judged by the criteria of GMValuator's paper.

A method has a table of contributions, as `royalty.tasks.items.gmvaluator_worker` keeps it: for each generated image its
k most valuable items, the best first. Imports no orchestration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items, numbered
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.judging.criteria import (
    IdenticalShare,
    identical_attributes,
    identical_class,
    membership_test,
    noise_rank,
    sensitivity,
)
from royalty.models.judging.detection import detection
from royalty.models.valuation.vae_tracin import Checkpoint, vae_tracin_scores
from royalty.tasks.benchmarks.detection_worker import CURVE
from royalty.tasks.benchmarks.generators_worker import TRAINING, images_of, labelled
from royalty.tasks.config.criteria import TracInConfig
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.stored_items import load_contributions, load_items, load_values

ATTRIBUTE_KS = (5, 10, 15)
TOPS = (1, 2, 3)
DRAWN = (1, 10, 30, 50)


class Judged(TypedDict):
    """What one method found of one generator's images.

    Attributes:
        made: digest of the generated images, with labels where classes matter.
        table, contributions: digests, as of `royalty.tasks.items.gmvaluator_worker`; VAE-TracIn has no table.
        uncalibrated: digest of the contributions without quality, "" if there are none.
    """

    generator: str
    method: str
    made: str
    table: str
    contributions: str
    uncalibrated: str


def trace(
    items: str,
    made: str,
    models: list[str],
    tracin: TracInConfig,
    k: int,
    seed: int,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """Keep the k items of highest VAE-TracIn score of each generated image."""
    torch.set_num_threads(os.cpu_count() or 1)
    space = open_workspace(settings)
    images, generated = images_of(load_items(space, items)), images_of(load_items(space, made))
    scores = vae_tracin_scores(
        load_checkpoints(space, models), images, generated, draws=tracin.draws, seed=seed, progress=advance
    )
    kept = min(k, scores.shape[1])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :kept]  # (generated, k)
    table = pd.DataFrame(
        {
            "generated": np.repeat(np.arange(len(generated)), kept),
            "item": best.ravel(),
            "score": np.take_along_axis(scores, best, axis=1).ravel(),
        }
    )
    return {"contributions": space.artifacts.put(table.to_parquet(index=False))}


def load_checkpoints(space: Workspace, models: Sequence[str]) -> list[Checkpoint]:
    rate = TRAINING["beta-vae"]["learning_rate"]
    return [(rate, BetaVAE.from_bytes(space.artifacts.get(model)).to(torch.device(best_device()))) for model in models]


def judge_identity(
    judged: list[Judged], items: str, ks: Sequence[int], seed: int, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """C1: class of the contributors; how it varies with the number of images; what quality takes off their scores."""
    space = open_workspace(settings)
    trained = load_items(space, items)
    identity, spread, calibration = [], [], []
    for each in judged:
        of = {"generator": each["generator"], "method": each["method"]}
        made = load_items(space, each["made"])
        labels, classes = numbered(labelled(trained)[1], labelled(made)[1])
        if labels is None or classes is None:  # `labelled` refuses what has none
            raise InputError("criteria compare the classes of training images; add labels to the training set")
        neighbours = neighbours_of(space, each["contributions"], len(made))
        shares = identical_class(neighbours, labels, classes, ks=_reached(ks, neighbours))
        identity += [of | _share(share) for share in shares]
        last = shares[-1]
        sizes = [size for size in DRAWN if size < len(made)]
        spread += [of | {"k": last.k, **vars(drawn)} for drawn in sensitivity(last.each, images=sizes, seed=seed)]
        if each["uncalibrated"]:
            pairs = {"with": each["contributions"], "without": each["uncalibrated"]}
            scores = {name: scores_of(space, digest, len(made)) for name, digest in pairs.items()}
            calibration += [
                of | {"top": top, **{name: float(table[:, top - 1].mean()) for name, table in scores.items()}}
                for top in TOPS
                if top <= neighbours.shape[1]
            ]
        advance(1)
    return {"identity": identity, "sensitivity": spread, "calibration": calibration}


def judge_attributes(
    judged: list[Judged], items: str, attributes: Mapping[str, Sequence[str]], settings: Settings, advance: Advance
) -> dict[str, Any]:
    """C2: attributes of the contributors, each alone and each two together, by images that have what is asked.

    Args:
        attributes: by name, the labels that have it; for images that were read without attributes of their own.
    """
    space = open_workspace(settings)
    trained = load_items(space, items)
    has, names = _attributes(trained, attributes), list(trained.attributes or attributes)
    asked = [[column] for column in range(len(names))]
    asked += [[first, second] for second in range(len(names)) for first in range(second)]
    rows = []
    for each in judged:
        made = load_items(space, each["made"])
        shown = _attributes(made, attributes)
        neighbours = neighbours_of(space, each["contributions"], len(made))
        for columns in asked:
            chosen = np.flatnonzero(shown[:, columns].all(axis=1))
            if len(chosen) < 2:
                continue  # a standard error takes two images that have what is asked
            shares = identical_attributes(
                neighbours[chosen], has, shown[chosen], asked=columns, ks=_reached(ATTRIBUTE_KS, neighbours)
            )
            title = " & ".join(names[column] for column in columns)
            of = {"generator": each["generator"], "method": each["method"], "attributes": title, "images": len(chosen)}
            chance = float(has[:, columns].all(axis=1).mean())
            rows += [of | _share(share) | {"chance": chance} for share in shares]
        advance(1)
    return {"attributes": rows}


def judge_membership(
    judged: list[Judged], trained: list[int], held_out: list[int], settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Table 6: whether images of a class that were trained on are worth more than those that were not."""
    space, rows, values = open_workspace(settings), [], {}
    for each in judged:
        worth = load_values(space, each["table"])["value"].to_numpy()
        found = membership_test(worth[trained], worth[held_out])
        rows.append({"generator": each["generator"], "method": each["method"], **vars(found)})
        for side, own in (("trained", trained), ("held out", held_out)):
            values[f"{each['generator']}, {each['method']}, {side}"] = worth[own].tolist()
        advance(1)
    return {"membership": rows, "values": values}


def judge_outliers(judged: list[Judged], planted: list[int], settings: Settings, advance: Advance) -> dict[str, Any]:
    """C3: where images with noise rank by value."""
    space, rows, curves = open_workspace(settings), [], {}
    for each in judged:
        values = load_values(space, each["table"])["value"].to_numpy()
        noisy = np.zeros(len(values), dtype=bool)
        noisy[planted] = True
        of = {"generator": each["generator"], "method": each["method"]}
        worthless = {"zero": float((values == 0).mean()), "noisy_zero": float((values[noisy] == 0).mean())}
        rows.append(of | {"planted": len(planted), "items": len(values)} | vars(noise_rank(values, noisy)) | worthless)
        shown = np.linspace(0, len(values) - 1, min(CURVE, len(values))).astype(int)
        curves[f"{each['generator']}, {each['method']}"] = detection(values, noisy).rates[shown].tolist()
        advance(1)
    return {"outliers": rows, "curves": curves}


def neighbours_of(space: Workspace, contributions: str, images: int) -> np.ndarray:
    """Rows of the items of each generated image, the most valuable first: int64, `(generated, k)`."""
    items: np.ndarray = load_contributions(space, contributions)["item"].to_numpy().reshape(images, -1)
    return items


def scores_of(space: Workspace, contributions: str, images: int) -> np.ndarray:
    """What those items are worth by the image: float64, `(generated, k)`."""
    scores: np.ndarray = load_contributions(space, contributions)["score"].to_numpy().reshape(images, -1)
    return scores


def _attributes(items: Items, attributes: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Bool, `(images, attributes)`."""
    if items.attributes is not None:
        return np.stack(list(items.attributes.values()), axis=1)
    names = labelled(items)[1].astype(str)
    return np.stack([np.isin(names, having) for having in attributes.values()], axis=1)


def _reached(ks: Sequence[int], neighbours: np.ndarray) -> list[int]:
    """The ks, those beyond the items there are replaced by all of them."""
    return sorted({min(k, neighbours.shape[1]) for k in ks})


def _share(share: IdenticalShare) -> dict[str, float]:
    return {"k": share.k, "share": share.share, "stderr": share.stderr}

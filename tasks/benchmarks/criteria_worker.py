"""Worker code: judge values of items by the criteria of the GMValuator paper.

A method has a table of contributions, as `royalty.tasks.items.gmvaluator_worker` stores it: for each generated image
its k most valuable items, most valuable first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.data.labelled import Items, numbered
from royalty.models.judging.criteria import (
    IdenticalShare,
    identical_attributes,
    identical_class,
    membership_test,
    noise_rank,
    sensitivity,
)
from royalty.models.judging.detection import detection
from royalty.models.judging.sets import labels_of
from royalty.tasks.benchmarks.criterion_stages import (
    ALL,
    AttributesInputs,
    AttributesOutputs,
    IdentityInputs,
    IdentityOutputs,
    Judged,
    MembershipInputs,
    MembershipOutputs,
    OutliersInputs,
    OutliersOutputs,
)
from royalty.tasks.items.stored_items import load_contributions, load_items, load_values
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.stage import TableRow

ATTRIBUTE_KS = (5, 10, 15)
"""Numbers of items whose attributes are compared."""
TOPS = (1, 2, 3)
"""Ranks of the scores that calibration compares."""
DRAWN = (1, 10, 30, 50)
"""Numbers of generated images drawn for the sensitivity."""


def judge_identity(inputs: IdentityInputs, context: StageContext) -> IdentityOutputs:
    """C1: classes of the most valuable items, sensitivity to the number of images, and effect of the quality."""
    trained = load_items(context.artifacts, inputs.items)
    identity: list[TableRow] = []
    spread: list[TableRow] = []
    calibration: list[TableRow] = []
    for judged in inputs.judged:
        source = _source(judged) | {"label": inputs.label or ALL}
        made = load_items(context.artifacts, judged.made)
        labels, classes = numbered(labels_of(trained), labels_of(made))
        if labels is None or classes is None:
            raise ValueError("items with labels have numbers of them")
        neighbours = neighbours_of(context.artifacts, judged.contributions, len(made))
        shares = identical_class(neighbours, labels, classes, ks=_reached(inputs.ks, neighbours))
        frequency = np.bincount(labels, minlength=classes.max() + 1) / len(labels)  # (classes,)
        source |= {"chance": float(frequency[classes].mean())}
        identity += [source | {"images": len(made)} | _share(share) for share in shares]
        last = shares[-1]
        sizes = [size for size in DRAWN if size < len(made)]
        spread += [
            source | {"k": last.k, **vars(drawn)}
            for drawn in sensitivity(last.per_image, images=sizes, seed=inputs.seed)
        ]
        if judged.uncalibrated:
            calibration += [source | row for row in _calibration(context.artifacts, judged, len(made))]
        context.advance(1)
    return IdentityOutputs(identity, spread, calibration)


def judge_attributes(inputs: AttributesInputs, context: StageContext) -> AttributesOutputs:
    """C2: attributes of the most valuable items, for each attribute and each pair of attributes."""
    trained = load_items(context.artifacts, inputs.items)
    item_attributes, names = attributes_in(trained, inputs.attributes), list(trained.attributes or inputs.attributes)
    pairs = [[first, second] for second in range(len(names)) for first in range(second)]
    rows: list[TableRow] = []
    for judged in inputs.judged:
        made = load_items(context.artifacts, judged.made)
        image_attributes = attributes_in(made, inputs.attributes)
        neighbours = neighbours_of(context.artifacts, judged.contributions, len(made))
        for columns in [[column] for column in range(len(names))] + pairs:
            chosen = np.flatnonzero(image_attributes[:, columns].all(axis=1))
            if len(chosen) < 2:
                continue  # a standard error needs two images with these attributes
            shares = identical_attributes(
                neighbours[chosen],
                item_attributes,
                image_attributes[chosen],
                columns=columns,
                ks=_reached(ATTRIBUTE_KS, neighbours),
            )
            title = " & ".join(names[column] for column in columns)
            chance = float(item_attributes[:, columns].all(axis=1).mean())
            source = _source(judged) | {"attributes": title, "images": len(chosen)}
            rows += [source | _share(share) | {"chance": chance} for share in shares]
        context.advance(1)
    return AttributesOutputs(rows)


def judge_membership(inputs: MembershipInputs, context: StageContext) -> MembershipOutputs:
    """Table 6: test whether trained images of a class have higher values than held-out ones."""
    rows: list[TableRow] = []
    values: dict[str, list[float]] = {}
    for judged in inputs.judged:
        worth = load_values(context.artifacts, judged.table)["value"].to_numpy()
        tested = membership_test(worth[inputs.trained], worth[inputs.held_out])
        rows.append(_source(judged) | {"split": inputs.split} | vars(tested))
        for side, members in (("trained", inputs.trained), ("held out", inputs.held_out)):
            values[f"{judged.generator}, {judged.method}, {side}"] = worth[members].tolist()
        context.advance(1)
    return MembershipOutputs(rows, values)


def judge_outliers(inputs: OutliersInputs, context: StageContext) -> OutliersOutputs:
    """C3: rank images with planted noise by value."""
    rows: list[TableRow] = []
    curves: dict[str, list[float]] = {}
    for judged in inputs.judged:
        values = load_values(context.artifacts, judged.table)["value"].to_numpy()
        noisy = np.zeros(len(values), dtype=bool)
        noisy[inputs.planted] = True
        counts = {"planted": len(inputs.planted), "items": len(values)}
        worthless = {"zero": float((values == 0).mean()), "noisy_zero": float((values[noisy] == 0).mean())}
        rows.append(_source(judged) | counts | vars(noise_rank(values, noisy)) | worthless)
        curves[f"{judged.generator}, {judged.method}"] = detection(values, noisy).curve()
        context.advance(1)
    return OutliersOutputs(rows, curves)


def neighbours_of(artifacts: ArtifactStore, contributions: str, images: int) -> np.ndarray:
    """Positions of the most valuable items of each generated image, most valuable first: int64, `(generated, k)`."""
    items: np.ndarray = load_contributions(artifacts, contributions)["item"].to_numpy().reshape(images, -1)
    return items


def scores_of(artifacts: ArtifactStore, contributions: str, images: int) -> np.ndarray:
    """Scores of those items: float64, `(generated, k)`."""
    scores: np.ndarray = load_contributions(artifacts, contributions)["score"].to_numpy().reshape(images, -1)
    return scores


def _source(judged: Judged) -> TableRow:
    return {"generator": judged.generator, "method": judged.method}


def _calibration(artifacts: ArtifactStore, judged: Judged, images: int) -> Iterator[TableRow]:
    """Mean of the highest, second highest and third highest scores, with and without the quality of images."""
    calibrated, plain = (scores_of(artifacts, digest, images) for digest in (judged.contributions, judged.uncalibrated))
    for top in TOPS:
        if top <= calibrated.shape[1]:
            yield {"top": top, "with": float(calibrated[:, top - 1].mean()), "without": float(plain[:, top - 1].mean())}


def attributes_in(items: Items, attributes: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Attributes of items, or those that follow from their labels: bool, `(images, attributes)`.

    Args:
        attributes: by name, the labels that have the attribute.
    """
    if items.attributes is not None:
        return np.stack(list(items.attributes.values()), axis=1)
    names = labels_of(items).astype(str)
    return np.stack([np.isin(names, having) for having in attributes.values()], axis=1)


def _reached(ks: Sequence[int], neighbours: np.ndarray) -> list[int]:
    """Cap the ks at the number of neighbours."""
    return sorted({min(k, neighbours.shape[1]) for k in ks})


def _share(share: IdenticalShare) -> TableRow:
    """Columns of a share. The standard error of a single generated image is undefined: None."""
    return {"k": share.k, "share": share.share, "stderr": None if np.isnan(share.stderr) else share.stderr}

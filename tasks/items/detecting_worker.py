"""Worker code: detect faulty items, and tabulate them with the reasons. Imports no orchestration."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.base.checks import check_labels
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.valuation.detector import DetectedItems, detect_items
from royalty.models.valuation.faults import FAULTS
from royalty.tasks.config.detecting import DetectSettings
from royalty.tasks.items.features import represented
from royalty.tasks.items.sides import OpenSides, open_sides
from royalty.tasks.items.stages import DetectItemsInputs, DetectItemsOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device

UNSEEN = "unseen_label"
"""The reason of items whose label validation lacks."""

UNCALIBRATED = (
    "There are no clean items: each item is compared with other training items, less those of lowest score. P-values "
    "and the false discovery rate are estimates, and not calibrated; faults that most items of a label have are not "
    "found"
)
"""The note on a detection without validation."""


def detect(inputs: DetectItemsInputs, context: StageContext) -> DetectItemsOutputs:
    """Detect faulty items."""
    torch.set_num_threads(cores())
    began, settings = time.perf_counter(), DetectSettings.model_validate(inputs.config)
    sides = open_sides(context.artifacts, inputs.sides, unseen_label=settings.unseen_label)
    if sides.train_labels is None or sides.val_labels is None:
        check_labels(sides.train.labels, len(sides.train), "training")
        check_labels(sides.val.labels, len(sides.val), "validation")
        raise InputError("detection needs labels on both sides; add them")
    train, val = represented(context.embeddings, sides, settings.encoding.representation, inputs.sides.encoder)
    clean = (val, sides.val_labels) if inputs.sides.val else ()
    found = detect_items(
        train,
        sides.train_labels,
        *clean,
        fdr=settings.fdr,
        by_class=settings.by_class,
        neighbours=min(settings.neighbours, len(val) if clean else max(1, (len(train) - 1) // 2)),
        trim=settings.trim,
        seed=settings.seed,
        device=best_device(),
        progress=context.advance,
    )
    names = dict(
        zip(sides.val_labels.tolist(), (sides.val.labels if sides.val.labels is not None else []), strict=True)
    )
    table = _table(sides, found, names)
    return DetectItemsOutputs(
        table=_kept(context.artifacts, table),
        items=len(table),
        flagged=int(found.flagged.sum()),
        notes=_notes(sides, found, names),
        diagnostics={
            **found.diagnostics,
            "fractions": {str(names[label]): share for label, share in found.diagnostics["fractions"].items()},
            "all_flagged": {str(names[label]): least for label, least in found.diagnostics["all_flagged"].items()},
        },
        busy_seconds=time.perf_counter() - began,
    )


def _table(sides: OpenSides, found: DetectedItems, names: dict[int, object]) -> pd.DataFrame:
    """One row for each item, in the order of the items; higher scores are cleaner."""
    reasons, known = found.reasons, sides.known
    titles = _titles(sides.val)
    columns = {
        "score": found.scores,
        **{f"p_{kind}": found.p_values[kind] for kind in FAULTS},
        "flagged": found.flagged,
        "reason": reasons.parts,
        "suggested_label": np.array([names[label] for label in reasons.suggested_labels.tolist()]),
        "suggested_probability": reasons.probabilities,
        "nearest": ["; ".join(titles[row] for row in rows) for rows in reasons.nearest.tolist()],
        "nearest_rows": reasons.nearest.tolist(),
    }
    judged = pd.DataFrame(columns, index=np.flatnonzero(known))
    if judged["suggested_label"].dtype.kind in "iu":
        judged["suggested_label"] = judged["suggested_label"].astype("Int64")  # which stays whole beside missing ones
    judged = judged.reindex(range(len(known)))
    judged["score"] = judged["score"].fillna(found.scores.min())
    judged["flagged"] = judged["flagged"].eq(True)
    judged["reason"] = judged["reason"].fillna(UNSEEN)
    return pd.concat([pd.DataFrame(sides.train.columns()), judged], axis=1)


def _titles(items: Items) -> list[str]:
    """What names a clean item: its file, or else the start of its ID."""
    files = items.file_names or ("",) * len(items)
    return [file or identity[:12] for file, identity in zip(files, items.ids, strict=True)]


def _notes(sides: OpenSides, found: DetectedItems, names: dict[int, object]) -> list[str]:
    notes = [] if found.calibrated else [UNCALIBRATED]
    notes += [
        f"All items of label {names[label]} are flagged. At the false discovery rate, at least {least} of them are "
        "faulty on average: check the label itself, and its validation items"
        for label, least in found.diagnostics["all_flagged"].items()
    ]
    if found.calibrated and found.diagnostics["clean"] < len(sides.val):
        notes.append(
            f"{len(sides.val) - found.diagnostics['clean']} of {len(sides.val)} validation items are copies of others, "
            "and count once: they show nothing new of how clean items look"
        )
    if not sides.known.all():
        notes.append(
            f"{int((~sides.known).sum())} items have a label that validation lacks. They have the lowest score and are "
            "not flagged, because nothing clean can be compared with them"
        )
    return notes


def _kept(artifacts: ArtifactStore, table: pd.DataFrame) -> str:
    return artifacts.put(table.to_parquet(index=False))

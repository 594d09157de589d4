"""Compose the page of the worst images of a detection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from royalty.infra.pages.detected import DetectedPage, Section, Suspect, render_detected
from royalty.infra.pages.pictures import sheet
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.valuation.faults import FAULTS
from royalty.tasks.config.detecting import DetectConfig
from royalty.tasks.items.stages import DetectItemsOutputs, Sides
from royalty.tasks.items.stored_items import load_items, load_values

SHOWN = 12
"""Worst items shown of each kind."""

MEANINGS = {
    "label": ("Labels", "Items whose label a classifier of the {others} items finds improbable."),
    "features": ("Features", "Items that lie far from all {others} items, whatever their label."),
    "within_class": ("Features within the label", "Items that lie far from the {others} items of their own label."),
}


def page_of(
    artifacts: ArtifactStore, config: DetectConfig, sides: Sides, outputs: DetectItemsOutputs, notes: Sequence[str]
) -> str:
    """The page as HTML; `notes` are sentences on the items."""
    table = load_values(artifacts, outputs.table)
    images, clean = load_items(artifacts, sides.train).images, load_items(artifacts, sides.val or sides.train).images
    sections = []
    for kind in FAULTS:
        title, meaning = MEANINGS[kind]
        meaning = meaning.format(others="clean" if sides.val else "other")
        own = table[table["reason"] == kind].sort_values("score", kind="stable").head(SHOWN)
        suspects = tuple(_suspect(row, kind, images, clean) for row in own.to_dict("index").items())
        flagged = int((table["flagged"] & (table["reason"] == kind)).sum())
        sections.append(Section(title, meaning, flagged, suspects))
    remarks = (*notes, *outputs.notes)
    page = DetectedPage(
        config.name, outputs.items, outputs.flagged, config.fdr, bool(sides.val), remarks, tuple(sections)
    )
    return render_detected(page)


def _suspect(
    row: tuple[object, dict[object, object]], kind: str, images: np.ndarray | None, clean: np.ndarray | None
) -> Suspect:
    position, cells = int(str(row[0])), {str(name): value for name, value in row[1].items()}
    nearest = np.asarray(cells["nearest_rows"], dtype=np.int64)
    name = cells.get("file_name")
    return Suspect(
        id=str(cells["id"]),
        file_name=name if isinstance(name, str) else "",
        image=None if images is None else sheet(images[[position]], 1),
        nearest=None if clean is None else sheet(clean[nearest], len(nearest)),
        nearest_names=str(cells["nearest"]),
        label=str(cells["label"]),
        suggested=str(cells["suggested_label"]),
        probability=float(str(cells["suggested_probability"])),
        p=float(str(cells[f"p_{kind}"])),
        flagged=bool(cells["flagged"]),
    )

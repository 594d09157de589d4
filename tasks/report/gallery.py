"""The gallery of a run's credit in its report."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from royalty.infra.pages.gallery_section import GalleryRow, GallerySection
from royalty.infra.pages.pictures import sheet
from royalty.infra.workspace import Workspace
from royalty.tasks.credit.stages import SAMPLES
from royalty.tasks.judge.gallery_stage import GALLERY_PAGE, GALLERY_TABLE, WRITE_GALLERY
from royalty.tasks.report.contents import Contents
from royalty.tasks.report.rows import readable
from royalty.tasks.stages.publishing import PublishInputs, PublishOutputs
from royalty.tasks.stages.stage import Finished

STRIP = 8
"""Images of each model that the report shows."""


@dataclass(frozen=True)
class KeptGallery:
    """The last gallery of a credit that this home holds."""

    space: Workspace
    stage: Finished[PublishInputs, PublishOutputs]

    @classmethod
    def of_credit(cls, space: Workspace, credit: str) -> KeptGallery | None:
        """Find it; None if there is none.

        Args:
            credit: key of the stage that estimated the credit.
        """
        finished = (readable(WRITE_GALLERY, row) for row in reversed(space.runs.stages(WRITE_GALLERY.name)))
        for stage in finished:
            if (
                stage is not None
                and stage.inputs.sources["credit"] == credit
                and all(map(space.artifacts.holds, stage.outputs.files.values()))
            ):
                return cls(space, stage)
        return None

    def shown_in(self, contents: Contents) -> Contents:
        """The contents of a run's pages with this gallery in the report."""
        return replace(contents, report=replace(contents.report, gallery=self._section()))

    @property
    def page(self) -> str:
        """Its page, as HTML."""
        return self.space.artifacts.get(self.stage.outputs.files[GALLERY_PAGE]).decode()

    def _section(self) -> GallerySection:
        """Its models of several contributors and of nobody, by the property of the run."""
        artifacts = self.space.artifacts
        table = pd.read_csv(io.BytesIO(artifacts.get(self.stage.outputs.files[f"{GALLERY_TABLE}.csv"])))
        own = table[table["property"] == table["property"].iloc[0]]  # the run's property comes first
        rows = own[~own["models"].str.startswith("only ")]
        samples = SAMPLES.kept(self.space, self.stage.inputs.sources["samples"])
        sampled = samples.outputs.images if samples else {}
        strips = {
            name: sheet(np.frombuffer(artifacts.get(digest), np.uint8).reshape(samples.outputs.shape)[:STRIP], STRIP)
            for name, digest in sampled.items()
            if samples and name in set(rows["models"]) and artifacts.holds(digest)
        }
        rows = rows.assign(low=rows["low"].fillna(rows["value"]), high=rows["high"].fillna(rows["value"]))
        shown = (
            GalleryRow(row["models"], strips.get(row["models"]), row["value"], row["low"], row["high"])
            for row in rows.to_dict("records")
        )
        return GallerySection(GALLERY_PAGE, int(own["seeds"].max()), tuple(shown))

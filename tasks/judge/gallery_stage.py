"""The stage that publishes a gallery."""

from __future__ import annotations

from royalty.tasks.stages.publishing import PublishInputs, PublishOutputs, PublishStage

WRITE_GALLERY = PublishStage("write-gallery", PublishInputs, PublishOutputs)
GALLERY_PAGE, GALLERY_TABLE = "gallery.html", "gallery"

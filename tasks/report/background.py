"""What the pages of contributors show that is no stage of the run: valuations, statements, the run before."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from royalty.infra.ledger.postings import Posted
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from royalty.models.data.items import ImageSet
from royalty.models.data.stored import open_set
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.items.stages import MATCH, VALUE
from royalty.tasks.report.rows import readable
from royalty.tasks.report.stages import TRACK, RunStages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlierRun:
    """The last run of the same name with another credit table; its key is that of the stage that logged it.

    Attributes:
        created_at: when it was logged; empty where that is not known.
    """

    stages: RunStages
    key: str
    created_at: str


@dataclass(frozen=True)
class Valuation:
    """A table of values, with the columns `id` and `value`, by the name of the method and the digest of the table."""

    method: str
    digest: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Background:
    """What the pages of contributors show besides the run's own stages.

    Attributes:
        train: the training images, mapped.
        valuations: this run's match, and the latest valuation by each method that knows any of its images.
        statements: that name a contributor of this run.
    """

    train: ImageSet
    valuations: list[Valuation]
    statements: list[Posted]
    earlier: EarlierRun | None

    @classmethod
    def read(cls, space: Workspace, name: str, stages: RunStages) -> Background:
        train = open_set(space.artifacts.verified(stages.ingest.outputs.train))
        return cls(
            train=train,
            valuations=_valuations(space, stages, set(train.ids)),
            statements=_statements(space, stages),
            earlier=_earlier_run(space, name, stages),
        )

    @property
    def context(self) -> dict[str, Any]:
        """Digests and rows that stand for all of it, apart from what the stages determine."""
        return {
            "earlier": self.earlier.key if self.earlier else None,
            "valuations": [valuation.digest for valuation in self.valuations],
            "statements": [asdict(posted) for posted in self.statements],
        }


def _valuations(space: Workspace, stages: RunStages, ids: set[str]) -> list[Valuation]:
    match = stages.match.outputs.table
    by_method = {MATCH.name: Valuation(MATCH.name, match, load_table(space, match))}
    for row in space.runs.stages(VALUE.name):
        valued = readable(VALUE, row)
        if valued is None or not space.artifacts.path(valued.outputs.table).exists():
            continue
        table = load_table(space, valued.outputs.table)
        if not ids.isdisjoint(table["id"]):
            method = valued.inputs.config["method"]
            by_method[method] = Valuation(method, valued.outputs.table, table)
    return list(by_method.values())


def _statements(space: Workspace, stages: RunStages) -> list[Posted]:
    """Statements that name a contributor of this run."""
    names = set(stages.ingest.outputs.contributors)
    return [posted for posted in space.ledger.verified_statements() if names & set(posted.paid)]


def _earlier_run(space: Workspace, name: str, stages: RunStages) -> EarlierRun | None:
    """The run of this name before the present one, if the rows of it have all that is compared."""
    tracks = TRACK.latest(space)
    present = next(place for place, track in enumerate(tracks) if track.key == stages.logged_run.key)
    for track in reversed(tracks[:present]):
        if track.inputs.name != name:
            continue
        try:
            earlier = RunStages.kept(space, track.inputs.stages)
        except StoreError as error:
            logger.warning("Pages compare nothing with the run before this one: %s", error)
            return None
        if earlier.credit.outputs.table != stages.credit.outputs.table:
            origin = space.lineage.origins([track.key]).get(track.key)
            return EarlierRun(earlier, track.key, origin.created_at if origin else "")
    return None

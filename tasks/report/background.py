"""Data of the contributor pages from outside the run: valuations, payout statements and the earlier run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from royalty.infra.ledger.cases import Case
from royalty.infra.ledger.optouts import OptOut, optouts
from royalty.infra.ledger.postings import Posted
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from royalty.models.data.items import ImageSet
from royalty.models.data.stored import open_set
from royalty.models.data.teams import people
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.credit.listed import about_of, files_of
from royalty.tasks.items.stages import MATCH, VALUE
from royalty.tasks.report.rows import readable
from royalty.tasks.report.stages import TRACK, RunStages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlierRun:
    """The last run of the same name with a different credit table.

    Attributes:
        key: key of the stage that logged it.
        created_at: when it was logged; empty if unknown.
    """

    stages: RunStages
    key: str
    created_at: str


@dataclass(frozen=True)
class Valuation:
    """Values of items by one method: the digest of the table, and the table with columns `id` and `value`."""

    method: str
    digest: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Background:
    """Data that the contributor pages show in addition to the stages of the run.

    Attributes:
        train: the training images, memory-mapped.
        valuations: the match of this run, and the latest valuation by each method that covers any of its images.
        statements: statements of pools that this credit divided, and those that move money of its contributors.
        earlier: the run that changes are shown against; None if there is none.
        files: file names by contributor and item id; empty if the images have none.
        about: caption, license and date by item id; empty if the images have none.
        cases: cases about a contributor of this run.
        optouts: opt-outs of a contributor of this run.
    """

    train: ImageSet
    valuations: list[Valuation]
    statements: list[Posted]
    earlier: EarlierRun | None
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    cases: Sequence[Case] = ()
    optouts: Sequence[OptOut] = ()

    @classmethod
    def read(cls, space: Workspace, name: str, stages: RunStages) -> Background:
        """Read everything from the workspace."""
        train, listed = open_set(space.artifacts.verified(stages.ingest.outputs.train)), stages.ingest.outputs.listed
        return cls(
            train=train,
            valuations=_valuations(space, stages, set(train.ids)),
            statements=_statements(space, stages),
            earlier=_earlier_run(space, name, stages),
            files=files_of(space.artifacts, listed) if listed else {},
            about=about_of(space.artifacts, listed, train.ids) if listed else {},
            cases=[case for case in space.cases.all() if {*case.contributors} & {*people(train.contributors)}],
            optouts=[each for each in optouts(space.acts) if each.contributor in people(train.contributors)],
        )

    @property
    def context(self) -> dict[str, Any]:
        """Digests and rows that identify this data, for the inputs of the report stage."""
        withdrawn = {"optouts": [optout.act.hash for optout in self.optouts]} if self.optouts else {}
        return {
            **withdrawn,
            "earlier": self.earlier.key if self.earlier else None,
            "valuations": [valuation.digest for valuation in self.valuations],
            "statements": [asdict(posted) for posted in self.statements],
            "cases": [case.acts[-1].hash for case in self.cases],
        }


def _valuations(space: Workspace, stages: RunStages, ids: set[str]) -> list[Valuation]:
    match = stages.match.outputs.table
    by_method = {MATCH.name: Valuation(MATCH.name, match, load_table(space, match))}
    for row in space.runs.stages(VALUE.name):
        valued = readable(VALUE, row)
        if valued is None or not space.artifacts.holds(valued.outputs.table):
            continue
        table = load_table(space, valued.outputs.table)
        if not ids.isdisjoint(table["id"]):
            method = valued.inputs.config["method"]
            by_method[method] = Valuation(method, valued.outputs.table, table)
    return list(by_method.values())


def _statements(space: Workspace, stages: RunStages) -> list[Posted]:
    """Statements of pools that this credit divides, and those that move money of its contributors."""
    names, statements = set(stages.ingest.outputs.players), space.ledger.verified_statements()
    table, pool = stages.credit.outputs.table, stages.pay.inputs.pool
    pools = {(posted.pool, posted.period) for posted in statements if posted.valuation == table}
    return [
        posted
        for posted in statements
        if posted.pool == pool or (posted.pool, posted.period) in pools or any(map(posted.concerns, names))
    ]


def _earlier_run(space: Workspace, name: str, stages: RunStages) -> EarlierRun | None:
    """The last earlier run of this name with a different credit table; None if there is none, or it cannot be read."""
    tracks = TRACK.latest(space)
    present = next(place for place, track in enumerate(tracks) if track.key == stages.logged_run.key)
    for track in reversed(tracks[:present]):
        if track.inputs.name != name:
            continue
        try:
            earlier = RunStages.kept(space, track.inputs.stages)
        except StoreError as error:
            logger.warning("The contributor pages show no changes since the earlier run: %s", error)
            return None
        if earlier.credit.outputs.table != stages.credit.outputs.table:
            origin = space.lineage.origins([track.key]).get(track.key)
            return EarlierRun(earlier, track.key, origin.created_at if origin else "")
    return None

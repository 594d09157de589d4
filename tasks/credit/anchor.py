"""The game of a run (its images, judge and models), and the anchor that keeps the game for later revaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.generators.training import Method
from royalty.tasks.credit.grouping import Grouped
from royalty.tasks.credit.stages import (
    CLASSIFIER,
    INGEST,
    PIPELINE,
    PRUNE,
    TRAIN,
    Classified,
    Ingested,
    Pipeline,
    Pruned,
    Trained,
)


@dataclass(frozen=True)
class Game:
    """The stages that determine the utility of every coalition: images, classifier and starting models.

    Attributes:
        judge: the classifier behind the utility.
        pipeline: the pipeline under the LoRAs, if this run trained it; else None.
        grouped: the groups that coalitions consist of; None: contributors.
    """

    data: Ingested
    judge: Classified
    base: Trained
    pruned: Pruned
    pipeline: Pipeline | None = None
    grouped: Grouped | None = None

    def start(self, method: Method) -> str:
        """Digest of the model from which a method trains coalitions: the base model or the pruned one."""
        return self.base.outputs.model if method in ("finetune", "retrain") else self.pruned.outputs.model

    @property
    def trained(self) -> list[Classified | Pipeline | Trained | Pruned]:
        """The stages that trained its models, in the order of a run."""
        return [self.judge, *([self.pipeline] if self.pipeline else []), self.base, self.pruned]

    @property
    def seconds(self) -> float:
        """Wall time spent training its models, in seconds."""
        return sum(stage.seconds for stage in self.trained)

    @property
    def keys(self) -> dict[str, str]:
        """Stage keys by stage name."""
        stages = self.data, self.judge, self.base, self.pruned, self.pipeline
        return {stage.name: stage.key for stage in stages if stage is not None}


@dataclass(frozen=True)
class RunAnchor:
    """The game that a run started from, and when it was recorded."""

    name: str
    game: Game
    created_at: datetime


def record_anchor(name: str, game: Game) -> None:
    """Record the stages of this game as the anchor of the named run."""
    open_workspace(settings()).runs.record_anchor(name, game.keys)


def load_anchor(name: str) -> RunAnchor:
    """Load the latest anchor of a run.

    Raises:
        InputError: no run of that name has reached its pruned model, or its stages were deleted.
    """
    space = open_workspace(settings())
    record = space.runs.anchor(name)
    if record is None:
        raise InputError(
            f"a revaluation starts from the models of an earlier run, and {space.root} has no run named {name!r}. "
            "Run `royalty run` with this configuration first"
        )
    return RunAnchor(name, _recorded_game(space, name, record.stages), datetime.fromisoformat(record.created_at))


def _recorded_game(space: Workspace, name: str, keys: Mapping[str, str]) -> Game:
    data, judge = INGEST.kept(space, keys["ingest"]), CLASSIFIER.kept(space, keys["classifier"])
    base, pruned = TRAIN.kept(space, keys["train"]), PRUNE.kept(space, keys["prune"])
    if data is None or judge is None or base is None or pruned is None:
        raise InputError(
            f"a revaluation starts from the models of an earlier run, and stages of {name!r} are missing from the run "
            "store. Run `royalty run` with this configuration first"
        )
    return Game(data, judge, base, pruned, PIPELINE.kept(space, keys["base"]) if "base" in keys else None)

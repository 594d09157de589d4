"""What decides the worth of coalitions; and the anchor of a run: what they started from, kept for revaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.generators.training import Method
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
    """All that decides what a coalition is worth: images, the judge of them, and the models to start from.

    Attributes:
        pipeline: what LoRAs are put on, if this run trained it.
    """

    data: Ingested
    judge: Classified
    base: Trained
    pruned: Pruned
    pipeline: Pipeline | None = None

    def start(self, method: Method) -> str:
        """Digest of the model that coalitions trained by a method start from."""
        return self.base.outputs.model if method in ("finetune", "retrain") else self.pruned.outputs.model

    @property
    def seconds(self) -> float:
        """Wall time that its models took to train."""
        models = self.judge, self.base, self.pruned, self.pipeline
        return sum(stage.seconds for stage in models if stage is not None)

    @property
    def keys(self) -> dict[str, str]:
        """Keys of the stages, by name."""
        stages = self.data, self.judge, self.base, self.pruned, self.pipeline
        return {stage.name: stage.key for stage in stages if stage is not None}


@dataclass(frozen=True)
class RunAnchor:
    """What a run first started from, and when."""

    name: str
    game: Game
    created_at: datetime


def record_anchor(name: str, game: Game) -> None:
    """Keep these stages as what the run of that name starts from."""
    open_workspace(settings()).runs.record_anchor(name, game.keys)


def load_anchor(name: str) -> RunAnchor:
    """The latest anchor of a name.

    Raises:
        InputError: no run of that name has come as far as its pruned model.
    """
    space = open_workspace(settings())
    kept = space.runs.anchor(name)
    if kept is None:
        raise InputError(
            f"a revaluation starts from the models of an earlier run; there is none named {name!r} in {space.root}. "
            "Run `royalty run` with this configuration first"
        )
    return RunAnchor(name, _kept_game(space, name, kept.stages), datetime.fromisoformat(kept.created_at))


def _kept_game(space: Workspace, name: str, keys: Mapping[str, str]) -> Game:
    data, judge = INGEST.kept(space, keys["ingest"]), CLASSIFIER.kept(space, keys["classifier"])
    base, pruned = TRAIN.kept(space, keys["train"]), PRUNE.kept(space, keys["prune"])
    if data is None or judge is None or base is None or pruned is None:
        raise InputError(
            f"a revaluation starts from the models of an earlier run, and stages of {name!r} are gone from the run "
            "store; run `royalty run` with this configuration"
        )
    return Game(data, judge, base, pruned, PIPELINE.kept(space, keys["base"]) if "base" in keys else None)

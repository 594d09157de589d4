"""Stores and context that a worker function receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from royalty.infra.stores.artifacts import ArtifactStore, open_artifacts
from royalty.infra.stores.embeddings import EmbeddingStore
from royalty.infra.stores.weights import WeightsStore

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


@dataclass(frozen=True)
class Stores:
    """The stores of a home that workers use. Workers have no access to the run store and the ledger.

    Attributes:
        root: folder of the home.
        threads: CPU threads of a worker that runs beside others.
    """

    root: Path
    artifacts: ArtifactStore
    embeddings: EmbeddingStore
    weights: WeightsStore
    threads: int

    @property
    def checkpoints(self) -> Path:
        """Folder with the checkpoints of unfinished trainings."""
        return self.root / "checkpoints"

    @property
    def locks(self) -> Path:
        """Folder with the lock files of this home."""
        return self.root / "locks"


@dataclass(frozen=True)
class StageContext(Stores):
    """The stores, and the stage that runs.

    Attributes:
        key: key of the stage.
        advance: progress callback; takes the number of steps done since the last call.
    """

    key: str
    advance: Callable[[int], None]


@lru_cache
def open_stores(root: Path, artifacts: str, weights: Path, threads: int) -> Stores:
    """Open the stores of a home once for each process, so that each embedding shard is checked once."""
    return Stores(
        root, open_artifacts(root, artifacts), EmbeddingStore(root / "embeddings"), WeightsStore(weights), threads
    )


def stage_context(stores: Stores, key: str, advance: Callable[[int], None]) -> StageContext:
    """The context of one call of a stage's function."""
    return StageContext(**vars(stores), key=key, advance=advance)


def call_stage(
    function: Callable[[Inputs, StageContext], Outputs],
    inputs: Inputs,
    key: str,
    places: tuple[Path, str, Path, int],
    advance: Callable[[int], None],
) -> Outputs:
    """Entry point of a worker process for a stage: call its function with the stores of a home.

    Args:
        places: see `royalty.infra.settings.Settings.stores`.
    """
    return function(inputs, stage_context(open_stores(*places), key, advance))


def call_with_stores(
    function: Callable[..., Outputs],
    arguments: tuple[Any, ...],
    places: tuple[Path, str, Path, int],
    report: Callable[[Any], object],
) -> Outputs:
    """Entry point of a worker process for other work: call a function with its arguments, the stores and a reporter."""
    return function(*arguments, open_stores(*places), report)

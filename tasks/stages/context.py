"""What a stage's function works with in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.infra.stores.embeddings import EmbeddingStore
from royalty.infra.stores.weights import WeightsStore

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


@dataclass(frozen=True)
class Stores:
    """The stores of one home that hold payloads; what was finished, and who was paid, is none of a worker's business.

    Attributes:
        root: folder of the home.
        threads: of the processor, for a worker that shares it with others.
    """

    root: Path
    artifacts: ArtifactStore
    embeddings: EmbeddingStore
    weights: WeightsStore
    threads: int

    @property
    def checkpoints(self) -> Path:
        """Folder of trainings that are not finished."""
        return self.root / "checkpoints"

    @property
    def locks(self) -> Path:
        """Folder of what processes of this home hold."""
        return self.root / "locks"


@dataclass(frozen=True)
class StageContext(Stores):
    """The stores, and what else there is to know of the stage that runs.

    Attributes:
        key: of the stage; stands for all that determines what it makes.
        advance: called with the number of steps done since the last call.
    """

    key: str
    advance: Callable[[int], None]


@lru_cache
def open_stores(root: Path, weights: Path, threads: int) -> Stores:
    """The stores of a home, opened once a process: an embedding store checks each shard once."""
    return Stores(
        root, ArtifactStore(root / "artifacts"), EmbeddingStore(root / "embeddings"), WeightsStore(weights), threads
    )


def stage_context(stores: Stores, key: str, advance: Callable[[int], None]) -> StageContext:
    """The context of one call of a stage's function."""
    return StageContext(**vars(stores), key=key, advance=advance)


def call_stage(
    function: Callable[[Inputs, StageContext], Outputs],
    inputs: Inputs,
    key: str,
    places: tuple[Path, Path, int],
    advance: Callable[[int], None],
) -> Outputs:
    """What a worker process runs: a stage's function, with the stores of a home.

    Args:
        places: folders of the home and of weights, and threads; see `Stores`.
    """
    return function(inputs, stage_context(open_stores(*places), key, advance))


def call_with_stores(
    function: Callable[..., Outputs],
    arguments: tuple[Any, ...],
    places: tuple[Path, Path, int],
    report: Callable[[Any], object],
) -> Outputs:
    """What a worker process runs for work that is no stage: a function of its arguments, the stores and a reporter."""
    return function(*arguments, open_stores(*places), report)

"""Inputs and outputs of the stage that judges values by generators of random subsets of the training images.

Digests identify artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from royalty.tasks.stages.stage import Finished, Stage, TableRow


@dataclass(frozen=True)
class SubsetsInputs:
    """Generators of random subsets, and the values that should predict them.

    Attributes:
        made: digest of the generated images.
        values: digests of the contributions to these images, by method; items without one contribute nothing.
        items: number of training items.
        kept: fraction of them in a subset; see `royalty.models.judging.subsets.random_subsets`.
        seeds: seeds of the subsets.
        models: digests of the generators of each subset, one for each seed of training.
        seed: seed of bootstrap draws, permutations and random values.
    """

    made: str
    values: Mapping[str, str]
    items: int
    kept: float
    seeds: list[int]
    models: list[list[str]]
    seed: int


@dataclass(frozen=True)
class SubsetsOutputs:
    """Linear datamodeling scores.

    Attributes:
        subsets: a row for each method, and for what no method is: random values and another retraining.
        differences: a row for each pair of methods.
        images: the score of each method for each image.
    """

    subsets: list[TableRow]
    differences: list[TableRow]
    images: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"subsets": self.subsets, "subset-differences": self.differences, "subset-images": self.images}


SUBSETS = Stage("judge-subsets", SubsetsInputs, SubsetsOutputs)
SubsetsJudged = Finished[SubsetsInputs, SubsetsOutputs]

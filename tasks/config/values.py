"""The configuration of a valuation of items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from royalty.models.base.choices import SavaForm, SolverName
from royalty.tasks.config.base import Rate, RunName, StageConfig
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.sources import TrainingItems

if TYPE_CHECKING:
    from royalty.models.valuation.batches import Batching
    from royalty.models.valuation.ground import Options

ValueMethod = Literal["lava", "sava", "knn-shapley"]


class Valuing(StageConfig):
    """Settings of the methods.

    Attributes:
        label_weight, feature_weight, epsilon, tolerance, max_iterations, solver: optimal transport; see
            `royalty.models.valuation.lava.lava_values`. SAVA, which solves many small transports, has no choice of
            solver.
        batch_size, stratify, form: batches of SAVA; see `royalty.models.valuation.sava.sava_values`.
        perturbed: number of items for which changes of LAVA's distance are predicted by their value and solved again;
            see `royalty.models.valuation.perturbation.perturbed_distances`.
        neighbours: neighbours of KNN-Shapley; `auto` searches their number on validation.
    """

    label_weight: Annotated[float, Field(ge=0)] = 1.5
    feature_weight: Rate = 1.0
    epsilon: Rate = 0.1
    tolerance: Annotated[float, Field(gt=0, lt=2)] = 1e-3
    max_iterations: Annotated[int, Field(ge=1)] = 500
    solver: SolverName = "royalty"
    batch_size: Annotated[int, Field(ge=1)] = 1024
    stratify: bool = True
    form: SavaForm = "joint"
    perturbed: Annotated[int, Field(ge=0)] = 0
    neighbours: Annotated[int, Field(ge=1)] | Literal["auto"] = 5

    @property
    def options(self) -> Options:
        """Options of optimal transport."""
        from royalty.models.valuation.ground import Options  # imports torch, which takes seconds

        return Options(
            self.label_weight, self.feature_weight, self.epsilon, self.tolerance, self.max_iterations, self.solver
        )


class ValueSettings(StageConfig):
    """The method and its settings. With the items, they determine the values.

    Attributes:
        method: the valuation method.
        encoding: how images become vectors.
        valuing: settings of the methods.
        unseen_label: a training label that validation lacks is an error, or gives the lowest value (`worst`).
    """

    method: ValueMethod
    encoding: EncodingConfig = EncodingConfig()
    valuing: Valuing = Valuing()
    unseen_label: Literal["error", "worst"] = "error"
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def batching(self) -> Batching:
        """How SAVA divides items into batches."""
        from royalty.models.valuation.batches import Batching  # imports torch, which takes seconds

        return Batching(self.valuing.batch_size, self.valuing.stratify, self.seed)


class ValueConfig(ValueSettings, TrainingItems):
    """Configuration of a valuation.

    Attributes:
        name: name of the valuation.
        train: items to value; a folder, Parquet file or `.npz` file.
        val: clean items to value them by.
    """

    name: RunName
    train: Path
    val: Path

    @property
    def settings(self) -> ValueSettings:
        """The settings that values depend on."""
        return ValueSettings.model_validate(self.model_dump(include=set(ValueSettings.model_fields)))
